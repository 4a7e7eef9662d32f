noinst_LIBRARIES += server/commands/libcommands.a
server_commands_libcommands_a_SOURCES = 
