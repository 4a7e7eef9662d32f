noinst_LIBRARIES += server/proto/libproto.a
server_proto_libproto_a_SOURCES = \
	server/proto/outq.c server/proto/outq.h \
	server/proto/resp.h server/proto/resp_parse.c server/proto/resp_write.c
