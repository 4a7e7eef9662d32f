# The check tools.
bin_PROGRAMS += holdfast-check-rdb
holdfast_check_rdb_SOURCES = persistence/tools/check_rdb.c persistence/tools/check_snapshot.c persistence/tools/check_snapshot.h
holdfast_check_rdb_LDADD = $(RDB_LIBS)

bin_PROGRAMS += holdfast-check-aof
holdfast_check_aof_SOURCES = persistence/tools/check_aof.c persistence/tools/check_snapshot.c persistence/tools/check_snapshot.h
holdfast_check_aof_LDADD = $(AOF_LIBS)

dist_check_SCRIPTS += tests/unit/tools/test_check_tools
TESTS += tests/unit/tools/test_check_tools
EXTRA_DIST += tests/data/holdfast
