noinst_LIBRARIES += server/log/liblog.a
server_log_liblog_a_SOURCES = \
	server/log/changelog.c server/log/changelog.h \
	server/log/durability.c server/log/durability.h
