# Fuzz targets. To add fuzz_NAME.c: its name in FUZZERS, its libraries on a line below, and a directory corpus/NAME with at least one file.
# --enable-fuzzing makes libFuzzer programs of them (`make fuzzers`; tests/long/50-fuzz runs them); other builds run their corpora in `make check`.
FUZZERS = \
	tests/fuzz/fuzz_aof \
	tests/fuzz/fuzz_config \
	tests/fuzz/fuzz_glob \
	tests/fuzz/fuzz_intset \
	tests/fuzz/fuzz_legacy \
	tests/fuzz/fuzz_listpack \
	tests/fuzz/fuzz_lzf \
	tests/fuzz/fuzz_quicklist \
	tests/fuzz/fuzz_rdb \
	tests/fuzz/fuzz_replication \
	tests/fuzz/fuzz_restore \
	tests/fuzz/fuzz_resp \
	tests/fuzz/fuzz_stream
tests_fuzz_fuzz_config_LDADD = $(FUZZ_MAIN) $(ENGINE_LIBS)
tests_fuzz_fuzz_aof_LDADD = $(FUZZ_MAIN) $(SUPPORT_LIBS) $(AOF_LIBS)
tests_fuzz_fuzz_glob_LDADD = $(FUZZ_MAIN) $(DS_LIBS)
tests_fuzz_fuzz_intset_LDADD = $(FUZZ_MAIN) $(DS_LIBS)
tests_fuzz_fuzz_legacy_LDADD = $(FUZZ_MAIN) $(DS_LIBS)
tests_fuzz_fuzz_listpack_LDADD = $(FUZZ_MAIN) $(DS_LIBS)
tests_fuzz_fuzz_lzf_LDADD = $(FUZZ_MAIN) $(DS_LIBS)
tests_fuzz_fuzz_quicklist_LDADD = $(FUZZ_MAIN) $(DS_LIBS)
tests_fuzz_fuzz_rdb_LDADD = $(FUZZ_MAIN) $(RDB_LIBS)
tests_fuzz_fuzz_replication_LDADD = $(FUZZ_MAIN) $(REPLICATION_LIBS)
tests_fuzz_fuzz_restore_LDADD = $(FUZZ_MAIN) $(COMMANDS_LIBS)
tests_fuzz_fuzz_resp_LDADD = $(FUZZ_MAIN) $(PROTO_LIBS)
tests_fuzz_fuzz_stream_LDADD = $(FUZZ_MAIN) $(RDB_LIBS)

check_PROGRAMS += $(FUZZERS)
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/make_corpus.py tests/long/50-fuzz
if FUZZING
FUZZ_MAIN = $(FUZZ_LDFLAGS)
else
FUZZ_MAIN = tests/fuzz/libreplay.a
check_LIBRARIES += tests/fuzz/libreplay.a
tests_fuzz_libreplay_a_SOURCES = tests/fuzz/replay_main.c
TESTS += $(FUZZERS)
endif

.PHONY: fuzzers fuzzers-list
fuzzers: $(FUZZERS)
fuzzers-list:
	@echo $(FUZZERS)
