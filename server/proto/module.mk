noinst_LIBRARIES += server/proto/libproto.a
server_proto_libproto_a_SOURCES = 
