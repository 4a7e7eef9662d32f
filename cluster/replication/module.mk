noinst_LIBRARIES += cluster/replication/libreplication.a
cluster_replication_libreplication_a_SOURCES = \
	cluster/replication/backlog.c cluster/replication/backlog.h \
	cluster/replication/failover.c \
	cluster/replication/frames.c cluster/replication/frames.h \
	cluster/replication/full_sync.c \
	cluster/replication/full_sync_frames.c \
	cluster/replication/handshake.c cluster/replication/handshake.h \
	cluster/replication/history.c cluster/replication/history.h \
	cluster/replication/link.c \
	cluster/replication/link_spool.c \
	cluster/replication/link_stream.c \
	cluster/replication/link_sync.c \
	cluster/replication/primary.c \
	cluster/replication/replication.c cluster/replication/replication.h \
	cluster/replication/replication_cmd.c \
	cluster/replication/replication_info.c \
	cluster/replication/replication_int.h \
	cluster/replication/replication_settings.c \
	cluster/replication/role.c \
	cluster/replication/spool.c cluster/replication/spool.h \
	cluster/replication/transfer.c cluster/replication/transfer.h \
	cluster/replication/unpack.c cluster/replication/unpack.h

if HAVE_CMOCKA
REPLICATION_TESTS = tests/unit/replication/test_frames tests/unit/replication/test_spool tests/unit/replication/test_history tests/unit/replication/test_handshake tests/unit/replication/test_transfer
check_PROGRAMS += $(REPLICATION_TESTS)
TESTS += $(REPLICATION_TESTS)
tests_unit_replication_test_frames_SOURCES = tests/unit/replication/test_frames.c tests/support/unit.h
tests_unit_replication_test_frames_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_replication_test_frames_LDADD = $(REPLICATION_LIBS) $(CMOCKA_LIBS)
tests_unit_replication_test_spool_SOURCES = tests/unit/replication/test_spool.c tests/support/unit.h
tests_unit_replication_test_spool_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_replication_test_spool_LDADD = $(REPLICATION_LIBS) $(CMOCKA_LIBS)
tests_unit_replication_test_history_SOURCES = tests/unit/replication/test_history.c tests/support/unit.h
tests_unit_replication_test_history_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_replication_test_history_LDADD = $(REPLICATION_LIBS) $(CMOCKA_LIBS)
tests_unit_replication_test_handshake_SOURCES = tests/unit/replication/test_handshake.c tests/support/unit.h
tests_unit_replication_test_handshake_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_replication_test_handshake_LDADD = $(REPLICATION_LIBS) $(CMOCKA_LIBS)
tests_unit_replication_test_transfer_SOURCES = tests/unit/replication/test_transfer.c tests/support/unit.h
tests_unit_replication_test_transfer_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_replication_test_transfer_LDADD = $(REPLICATION_LIBS) $(CMOCKA_LIBS)
endif
