bin_PROGRAMS += holdfast-server
holdfast_server_SOURCES = \
	server/daemon/listen.c \
	server/daemon/main.c \
	server/daemon/node.c \
	server/daemon/node.h \
	server/daemon/node_commands.c \
	server/daemon/node_replication.c \
	server/daemon/node_settings.c \
	server/daemon/process.c \
	server/daemon/service.c \
	server/daemon/service.h
holdfast_server_CPPFLAGS = $(AM_CPPFLAGS) $(SYSTEMD_CFLAGS)
holdfast_server_LDADD = cluster/replication/libreplication.a $(COMMANDS_LIBS) $(SYSTEMD_LIBS)
