noinst_LIBRARIES += server/commands/libcommands.a
server_commands_libcommands_a_SOURCES = \
	server/commands/bitfield_cmd.c \
	server/commands/bitmap_cmd.c server/commands/bitmap_int.h \
	server/commands/bits.c server/commands/bits.h \
	server/commands/client_cmd.c \
	server/commands/command_cmd.c \
	server/commands/commands.h \
	server/commands/config_cmd.c \
	server/commands/connection_cmd.c \
	server/commands/debug_cmd.c \
	server/commands/digest.c server/commands/digest.h \
	server/commands/docs.c server/commands/docs.h \
	server/commands/hash_cmd.c server/commands/hash_int.h \
	server/commands/hash_digest.c \
	server/commands/hash_ex.c \
	server/commands/hash_expire.c \
	server/commands/hash_get.c \
	server/commands/hash_scan.c \
	server/commands/hash_set.c \
	server/commands/hll_cmd.c \
	server/commands/geo_cmd.c \
	server/commands/geo_int.h \
	server/commands/geo_search.c \
	server/commands/geohash.c server/commands/geohash.h \
	server/commands/info_cmd.c \
	server/commands/keys_cmd.c \
	server/commands/keys_db.c \
	server/commands/keys_dump.c \
	server/commands/keys_expire.c \
	server/commands/keys_int.h \
	server/commands/keys_move.c \
	server/commands/keys_object.c \
	server/commands/keys_scan.c \
	server/commands/latency_cmd.c \
	server/commands/lcs.c server/commands/lcs.h \
	server/commands/list_change.c \
	server/commands/list_cmd.c \
	server/commands/list_int.h \
	server/commands/list_move.c \
	server/commands/list_pop.c \
	server/commands/list_read.c \
	server/commands/memory_cmd.c \
	server/commands/memory_report.c server/commands/memory_report.h \
	server/commands/persist_adopt.c \
	server/commands/persist.c server/commands/persist.h \
	server/commands/persist_aof.c \
	server/commands/persist_cmd.c \
	server/commands/persist_info.c \
	server/commands/persist_int.h \
	server/commands/persist_libraries.c \
	server/commands/persist_load.c \
	server/commands/persist_settings.c \
	server/commands/pubsub_cmd.c \
	server/commands/range.c server/commands/range.h \
	server/commands/rows.h \
	server/commands/scan_options.c server/commands/scan_options.h \
	server/commands/server_cmd.c \
	server/commands/set_algebra.c \
	server/commands/set_cmd.c \
	server/commands/set_int.h \
	server/commands/set_options.c server/commands/set_options.h \
	server/commands/set_random.c \
	server/commands/slowlog_cmd.c \
	server/commands/sort_cmd.c \
	server/commands/sort_int.h \
	server/commands/sort_order.c server/commands/sort_order.h \
	server/commands/sort_pattern.c \
	server/commands/stream_add.c \
	server/commands/stream_claim.c \
	server/commands/stream_cmd.c \
	server/commands/stream_delete.c \
	server/commands/stream_group_cmd.c \
	server/commands/stream_info.c \
	server/commands/stream_int.h \
	server/commands/stream_pending.c \
	server/commands/stream_range.c \
	server/commands/stream_read.c \
	server/commands/string_cmd.c \
	server/commands/string_counter.c \
	server/commands/string_get.c \
	server/commands/string_int.h \
	server/commands/string_lcs.c \
	server/commands/string_multi.c \
	server/commands/string_range.c \
	server/commands/string_set.c \
	server/commands/zset_add.c \
	server/commands/zset_cmd.c \
	server/commands/zset_combine.c \
	server/commands/zset_int.h \
	server/commands/zset_pop.c \
	server/commands/zset_range.c \
	server/commands/zset_read.c \
	server/commands/zset_remove.c

if HAVE_CMOCKA
commands_unit_tests = \
	tests/unit/commands/test_bits \
	tests/unit/commands/test_geohash \
	tests/unit/commands/test_lcs \
	tests/unit/commands/test_range \
	tests/unit/commands/test_set_options \
	tests/unit/commands/test_sort_order
check_PROGRAMS += $(commands_unit_tests)
TESTS += $(commands_unit_tests)
tests_unit_commands_test_bits_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_commands_test_bits_LDADD = $(COMMANDS_LIBS) $(CMOCKA_LIBS)
tests_unit_commands_test_geohash_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_commands_test_geohash_LDADD = $(COMMANDS_LIBS) $(CMOCKA_LIBS)
tests_unit_commands_test_lcs_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_commands_test_lcs_LDADD = $(COMMANDS_LIBS) $(CMOCKA_LIBS)
tests_unit_commands_test_range_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_commands_test_range_LDADD = $(COMMANDS_LIBS) $(CMOCKA_LIBS)
tests_unit_commands_test_sort_order_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_commands_test_sort_order_LDADD = $(COMMANDS_LIBS) $(CMOCKA_LIBS)
tests_unit_commands_test_set_options_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_commands_test_set_options_LDADD = $(COMMANDS_LIBS) $(CMOCKA_LIBS)
endif
