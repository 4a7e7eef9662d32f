EXTRA_DIST += tests/data/fixtures
noinst_LIBRARIES += persistence/rdb/librdb.a
persistence_rdb_librdb_a_SOURCES = \
	persistence/rdb/check.c persistence/rdb/check.h \
	persistence/rdb/codec.c persistence/rdb/codec.h \
	persistence/rdb/dump.c \
	persistence/rdb/error.h \
	persistence/rdb/frame.c persistence/rdb/frame.h \
	persistence/rdb/hash_codec.c \
	persistence/rdb/io.h \
	persistence/rdb/list_codec.c \
	persistence/rdb/load.c \
	persistence/rdb/rdb.h \
	persistence/rdb/reader.c \
	persistence/rdb/record.c persistence/rdb/record.h \
	persistence/rdb/save.c \
	persistence/rdb/set_codec.c \
	persistence/rdb/stream_codec.c \
	persistence/rdb/string_codec.c \
	persistence/rdb/walk.c persistence/rdb/walk.h \
	persistence/rdb/writer.c \
	persistence/rdb/zset_codec.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/rdb/test_rdb tests/unit/rdb/test_walk
TESTS += tests/unit/rdb/test_rdb tests/unit/rdb/test_walk
RDB_TEST_CPPFLAGS = $(UNIT_CPPFLAGS) -DHF_SRCDIR='"$(abs_top_srcdir)"'
RDB_TEST_COMMON = tests/unit/rdb/common.c tests/unit/rdb/common.h
tests_unit_rdb_test_rdb_SOURCES = tests/unit/rdb/test_rdb.c $(RDB_TEST_COMMON)
tests_unit_rdb_test_rdb_CPPFLAGS = $(RDB_TEST_CPPFLAGS)
tests_unit_rdb_test_rdb_LDADD = $(RDB_LIBS) $(CMOCKA_LIBS)
tests_unit_rdb_test_walk_SOURCES = tests/unit/rdb/test_walk.c $(RDB_TEST_COMMON)
tests_unit_rdb_test_walk_CPPFLAGS = $(RDB_TEST_CPPFLAGS)
tests_unit_rdb_test_walk_LDADD = $(RDB_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/rdb/test_list_codec
TESTS += tests/unit/rdb/test_list_codec
tests_unit_rdb_test_list_codec_SOURCES = tests/unit/rdb/test_list_codec.c $(RDB_TEST_COMMON)
tests_unit_rdb_test_list_codec_CPPFLAGS = $(RDB_TEST_CPPFLAGS)
tests_unit_rdb_test_list_codec_LDADD = $(RDB_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/rdb/test_hash_codec
TESTS += tests/unit/rdb/test_hash_codec
tests_unit_rdb_test_hash_codec_SOURCES = tests/unit/rdb/test_hash_codec.c $(RDB_TEST_COMMON)
tests_unit_rdb_test_hash_codec_CPPFLAGS = $(RDB_TEST_CPPFLAGS)
tests_unit_rdb_test_hash_codec_LDADD = $(RDB_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/rdb/test_zset_codec
TESTS += tests/unit/rdb/test_zset_codec
tests_unit_rdb_test_zset_codec_SOURCES = tests/unit/rdb/test_zset_codec.c $(RDB_TEST_COMMON)
tests_unit_rdb_test_zset_codec_CPPFLAGS = $(RDB_TEST_CPPFLAGS)
tests_unit_rdb_test_zset_codec_LDADD = $(RDB_LIBS) $(CMOCKA_LIBS)
endif
