noinst_LIBRARIES += server/net/libnet.a
server_net_libnet_a_SOURCES = \
	server/net/conn.c server/net/conn.h server/net/conn_int.h \
	server/net/io_pool.c server/net/io_pool.h \
	server/net/listener.c \
	server/net/loop.c server/net/loop.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/net/test_conn tests/unit/net/test_io_pool tests/unit/net/test_loop
TESTS += tests/unit/net/test_conn tests/unit/net/test_io_pool tests/unit/net/test_loop
tests_unit_net_test_conn_SOURCES = tests/unit/net/test_conn.c tests/support/unit.h
tests_unit_net_test_conn_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_net_test_conn_LDADD = $(NET_LIBS) $(CMOCKA_LIBS)
tests_unit_net_test_io_pool_SOURCES = tests/unit/net/test_io_pool.c tests/support/unit.h
tests_unit_net_test_io_pool_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_net_test_io_pool_LDADD = $(NET_LIBS) $(CMOCKA_LIBS)
tests_unit_net_test_loop_SOURCES = tests/unit/net/test_loop.c tests/support/unit.h
tests_unit_net_test_loop_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_net_test_loop_LDADD = $(NET_LIBS) $(CMOCKA_LIBS)
endif
