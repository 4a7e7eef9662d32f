noinst_LIBRARIES += server/ds/libds.a
server_ds_libds_a_SOURCES = \
	server/ds/glob.c server/ds/glob.h \
	server/ds/hll.c server/ds/hll.h server/ds/hll_registers.h \
	server/ds/hll_registers.c \
	server/ds/hll_runs.c \
	server/ds/id_tree.c server/ds/id_tree.h \
	server/ds/intset.c server/ds/intset.h \
	server/ds/listpack.c server/ds/listpack.h \
	server/ds/lzf.c server/ds/lzf.h \
	server/ds/ordered_tree.c server/ds/ordered_tree.h \
	server/ds/packed.h \
	server/ds/packed_legacy.c server/ds/packed_legacy.h \
	server/ds/quicklist.c server/ds/quicklist.h \
	server/ds/slab.c server/ds/slab.h \
	server/ds/stream_id.h \
	server/ds/table.c server/ds/table.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/ds/test_glob tests/unit/ds/test_lzf tests/unit/ds/test_table tests/unit/ds/test_table_portable
TESTS += tests/unit/ds/test_glob tests/unit/ds/test_lzf tests/unit/ds/test_table tests/unit/ds/test_table_portable
tests_unit_ds_test_glob_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_glob_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
tests_unit_ds_test_lzf_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_lzf_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
tests_unit_ds_test_table_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_table_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
# The same without SSE2.
tests_unit_ds_test_table_portable_SOURCES = tests/unit/ds/test_table.c
tests_unit_ds_test_table_portable_CPPFLAGS = $(UNIT_CPPFLAGS) -DTABLE_PORTABLE
tests_unit_ds_test_table_portable_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
DS_PACKED_TESTS = \
	tests/unit/ds/test_intset \
	tests/unit/ds/test_listpack \
	tests/unit/ds/test_quicklist
check_PROGRAMS += $(DS_PACKED_TESTS)
TESTS += $(DS_PACKED_TESTS)
tests_unit_ds_test_intset_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_intset_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
tests_unit_ds_test_listpack_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_listpack_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
tests_unit_ds_test_quicklist_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_quicklist_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)

check_PROGRAMS += tests/unit/ds/test_hll
TESTS += tests/unit/ds/test_hll
tests_unit_ds_test_hll_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_hll_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/ds/test_ordered_tree
TESTS += tests/unit/ds/test_ordered_tree
tests_unit_ds_test_ordered_tree_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_ordered_tree_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/ds/test_slab
TESTS += tests/unit/ds/test_slab
tests_unit_ds_test_slab_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_slab_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/ds/test_id_tree
TESTS += tests/unit/ds/test_id_tree
tests_unit_ds_test_id_tree_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_id_tree_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
endif
