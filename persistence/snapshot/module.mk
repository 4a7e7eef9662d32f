noinst_LIBRARIES += persistence/snapshot/libsnapshot.a
persistence_snapshot_libsnapshot_a_SOURCES = \
	persistence/snapshot/child.c persistence/snapshot/child.h \
	persistence/snapshot/snapshot.c persistence/snapshot/snapshot.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/snapshot/test_snapshot
TESTS += tests/unit/snapshot/test_snapshot
tests_unit_snapshot_test_snapshot_SOURCES = tests/unit/snapshot/test_snapshot.c $(RDB_TEST_COMMON)
tests_unit_snapshot_test_snapshot_CPPFLAGS = $(RDB_TEST_CPPFLAGS)
tests_unit_snapshot_test_snapshot_LDADD = $(SUPPORT_LIBS) $(SNAPSHOT_LIBS) $(CMOCKA_LIBS)
endif
