noinst_LIBRARIES += server/net/libnet.a
server_net_libnet_a_SOURCES = 
