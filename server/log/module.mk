noinst_LIBRARIES += server/log/liblog.a
server_log_liblog_a_SOURCES = \
	server/log/annotation.c server/log/annotation.h \
	server/log/changelog.c server/log/changelog.h \
	server/log/durability.c server/log/durability.h \
	server/log/record_reader.c server/log/record_reader.h \
	server/log/recovery.c server/log/recovery.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/log/test_changelog tests/unit/log/test_durability
TESTS += tests/unit/log/test_changelog tests/unit/log/test_durability
tests_unit_log_test_changelog_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_log_test_changelog_LDADD = $(LOG_LIBS) $(CMOCKA_LIBS)
tests_unit_log_test_durability_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_log_test_durability_LDADD = $(LOG_LIBS) $(CMOCKA_LIBS)
endif
