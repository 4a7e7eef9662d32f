noinst_LIBRARIES += persistence/rdb/librdb.a
persistence_rdb_librdb_a_SOURCES = \
	persistence/rdb/blob.c persistence/rdb/blob.h \
	persistence/rdb/check.c persistence/rdb/check.h \
	persistence/rdb/codec.c persistence/rdb/codec.h \
	persistence/rdb/dump.c \
	persistence/rdb/error.h \
	persistence/rdb/frame.c persistence/rdb/frame.h \
	persistence/rdb/io.h \
	persistence/rdb/load.c \
	persistence/rdb/rdb.h \
	persistence/rdb/reader.c \
	persistence/rdb/record.c persistence/rdb/record.h \
	persistence/rdb/save.c \
	persistence/rdb/string_codec.c \
	persistence/rdb/walk.c persistence/rdb/walk.h \
	persistence/rdb/writer.c
