noinst_LIBRARIES += server/engine/libengine.a
server_engine_libengine_a_SOURCES = \
	server/engine/batch.c \
	server/engine/block.c \
	server/engine/block_keys.c \
	server/engine/follow.c \
	server/engine/call.c \
	server/engine/call.h \
	server/engine/client.c \
	server/engine/collection_settings.c \
	server/engine/client.h \
	server/engine/command.c \
	server/engine/command.h \
	server/engine/cron.c \
	server/engine/dispatch.c \
	server/engine/engine.c \
	server/engine/engine.h \
	server/engine/engine_int.h \
	server/engine/engine_settings.c \
	server/engine/inflight.c server/engine/inflight.h \
	server/engine/info.c \
	server/engine/info.h \
	server/engine/latency.c \
	server/engine/latency.h \
	server/engine/notify.c \
	server/engine/propagate.c \
	server/engine/pubsub.c \
	server/engine/pubsub.h \
	server/engine/settings.c \
	server/engine/settings.h \
	server/engine/settings_absent.c \
	server/engine/settings_file.c \
	server/engine/settings_int.h \
	server/engine/settings_rewrite.c \
	server/engine/settings_value.c \
	server/engine/slowlog.c \
	server/engine/slowlog.h \
	server/engine/transaction.c \
	server/engine/write_ack.c \
	server/engine/write_ack.h

if HAVE_CMOCKA
engine_unit_tests = \
	tests/unit/engine/test_block_keys \
	tests/unit/engine/test_command \
	tests/unit/engine/test_follow \
	tests/unit/engine/test_hold \
	tests/unit/engine/test_inflight \
	tests/unit/engine/test_info \
	tests/unit/engine/test_latency \
	tests/unit/engine/test_pubsub \
	tests/unit/engine/test_session \
	tests/unit/engine/test_settings \
	tests/unit/engine/test_settings_rewrite \
	tests/unit/engine/test_slowlog \
	tests/unit/engine/test_transaction \
	tests/unit/engine/test_write_ack
check_PROGRAMS += $(engine_unit_tests)
TESTS += $(engine_unit_tests)
tests_unit_engine_test_info_SOURCES = tests/unit/engine/test_info.c tests/support/unit.h
tests_unit_engine_test_info_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_info_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_latency_SOURCES = tests/unit/engine/test_latency.c tests/support/unit.h
tests_unit_engine_test_latency_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_latency_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_settings_SOURCES = tests/unit/engine/test_settings.c tests/unit/engine/settings_fixture.h tests/support/unit.h
tests_unit_engine_test_settings_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_settings_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_settings_rewrite_SOURCES = tests/unit/engine/test_settings_rewrite.c tests/unit/engine/settings_fixture.h \
	tests/support/unit.h
tests_unit_engine_test_settings_rewrite_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_settings_rewrite_LDADD = $(SUPPORT_LIBS) $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_slowlog_SOURCES = tests/unit/engine/test_slowlog.c tests/support/unit.h
tests_unit_engine_test_slowlog_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_slowlog_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_command_SOURCES = tests/unit/engine/test_command.c tests/support/unit.h
tests_unit_engine_test_command_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_command_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_block_keys_SOURCES = tests/unit/engine/test_block_keys.c tests/unit/engine/engine_fixture.h \
	tests/support/unit.h
tests_unit_engine_test_block_keys_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_block_keys_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_pubsub_SOURCES = tests/unit/engine/test_pubsub.c tests/unit/engine/engine_fixture.h tests/support/unit.h
tests_unit_engine_test_pubsub_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_pubsub_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_write_ack_SOURCES = tests/unit/engine/test_write_ack.c tests/unit/engine/engine_fixture.h tests/support/unit.h
tests_unit_engine_test_write_ack_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_write_ack_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_follow_SOURCES = tests/unit/engine/test_follow.c tests/unit/engine/engine_fixture.h tests/support/unit.h
tests_unit_engine_test_follow_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_follow_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_hold_SOURCES = tests/unit/engine/test_hold.c tests/unit/engine/engine_fixture.h tests/support/unit.h
tests_unit_engine_test_hold_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_hold_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_inflight_SOURCES = tests/unit/engine/test_inflight.c tests/support/unit.h
tests_unit_engine_test_inflight_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_inflight_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_session_SOURCES = tests/unit/engine/test_session.c tests/unit/engine/engine_fixture.h tests/support/unit.h
tests_unit_engine_test_session_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_session_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
tests_unit_engine_test_transaction_SOURCES = tests/unit/engine/test_transaction.c tests/unit/engine/engine_fixture.h tests/support/unit.h
tests_unit_engine_test_transaction_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_engine_test_transaction_LDADD = $(ENGINE_LIBS) $(CMOCKA_LIBS)
EXTRA_DIST += tests/data/debian-redis-7.0.conf
endif
