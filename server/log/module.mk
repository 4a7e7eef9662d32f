noinst_LIBRARIES += server/log/liblog.a
server_log_liblog_a_SOURCES = 
