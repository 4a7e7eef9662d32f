# bin_PROGRAMS += holdfast-server
