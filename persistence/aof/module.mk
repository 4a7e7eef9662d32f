noinst_LIBRARIES += persistence/aof/libaof.a
persistence_aof_libaof_a_SOURCES = persistence/aof/command_form.c persistence/aof/command_form.h
