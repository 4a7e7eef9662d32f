noinst_LIBRARIES += server/engine/libengine.a
server_engine_libengine_a_SOURCES = \
	server/engine/batch.c \
	server/engine/block.c \
	server/engine/call.c \
	server/engine/call.h \
	server/engine/client.c \
	server/engine/client.h \
	server/engine/command.c \
	server/engine/command.h \
	server/engine/cron.c \
	server/engine/dispatch.c \
	server/engine/engine.c \
	server/engine/engine.h \
	server/engine/engine_int.h \
	server/engine/engine_settings.c \
	server/engine/inflight.c \
	server/engine/info.c \
	server/engine/info.h \
	server/engine/propagate.c \
	server/engine/settings.c \
	server/engine/settings.h \
	server/engine/settings_absent.c \
	server/engine/settings_file.c \
	server/engine/settings_int.h \
	server/engine/settings_rewrite.c \
	server/engine/settings_value.c \
	server/engine/slowlog.c \
	server/engine/slowlog.h \
	server/engine/transaction.c
