noinst_LIBRARIES += server/proto/libproto.a
server_proto_libproto_a_SOURCES = \
	server/proto/outq.c server/proto/outq.h \
	server/proto/resp.h server/proto/resp_parse.c server/proto/resp_write.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/proto/test_outq tests/unit/proto/test_resp_parse tests/unit/proto/test_resp_write
TESTS += tests/unit/proto/test_outq tests/unit/proto/test_resp_parse tests/unit/proto/test_resp_write
tests_unit_proto_test_outq_SOURCES = tests/unit/proto/test_outq.c tests/support/unit.h
tests_unit_proto_test_outq_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_proto_test_outq_LDADD = $(PROTO_LIBS) $(CMOCKA_LIBS)
tests_unit_proto_test_resp_parse_SOURCES = tests/unit/proto/test_resp_parse.c tests/support/unit.h
tests_unit_proto_test_resp_parse_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_proto_test_resp_parse_LDADD = $(PROTO_LIBS) $(CMOCKA_LIBS)
tests_unit_proto_test_resp_write_SOURCES = tests/unit/proto/test_resp_write.c tests/support/unit.h
tests_unit_proto_test_resp_write_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_proto_test_resp_write_LDADD = $(PROTO_LIBS) $(CMOCKA_LIBS)
endif
