noinst_LIBRARIES += server/ds/libds.a
server_ds_libds_a_SOURCES = \
	server/ds/glob.c server/ds/glob.h \
	server/ds/lzf.c server/ds/lzf.h \
	server/ds/table.c server/ds/table.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/ds/test_table
TESTS += tests/unit/ds/test_table
tests_unit_ds_test_table_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_ds_test_table_LDADD = $(DS_LIBS) $(CMOCKA_LIBS)
endif
