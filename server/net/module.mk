noinst_LIBRARIES += server/net/libnet.a
server_net_libnet_a_SOURCES = \
	server/net/conn.c server/net/conn.h server/net/conn_int.h \
	server/net/io_pool.c server/net/io_pool.h \
	server/net/listener.c \
	server/net/loop.c server/net/loop.h
