noinst_LIBRARIES += server/log/liblog.a
server_log_liblog_a_SOURCES = \
	server/log/annotation.c server/log/annotation.h \
	server/log/changelog.c server/log/changelog.h \
	server/log/durability.c server/log/durability.h \
	server/log/record_reader.c server/log/record_reader.h \
	server/log/recovery.c server/log/recovery.h
