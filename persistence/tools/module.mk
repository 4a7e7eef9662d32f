# check tools
