noinst_LIBRARIES += persistence/aof/libaof.a
persistence_aof_libaof_a_SOURCES = \
	persistence/aof/manifest.c persistence/aof/manifest.h
