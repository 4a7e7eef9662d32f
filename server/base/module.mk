noinst_LIBRARIES += server/base/libbase.a
server_base_libbase_a_SOURCES = \
	server/base/assert.c server/base/assert.h \
	server/base/buf.c server/base/buf.h \
	server/base/clock.c server/base/clock.h \
	server/base/crc.c server/base/crc.h \
	server/base/endian.h \
	server/base/fs.c server/base/fs.h \
	server/base/hash.c server/base/hash.h \
	server/base/logging.c server/base/logging.h \
	server/base/mem.c server/base/mem.h \
	server/base/num.c server/base/num.h \
	server/base/num_float.c \
	server/base/rng.c server/base/rng.h \
	server/base/slice.h \
	server/base/worker.c server/base/worker.h
server_base_libbase_a_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS)

if HAVE_CMOCKA
base_unit_tests = \
	tests/unit/base/test_buf \
	tests/unit/base/test_bytes \
	tests/unit/base/test_crc \
	tests/unit/base/test_fs \
	tests/unit/base/test_hash \
	tests/unit/base/test_logging \
	tests/unit/base/test_mem \
	tests/unit/base/test_num \
	tests/unit/base/test_rng \
	tests/unit/base/test_worker
check_PROGRAMS += $(base_unit_tests)
TESTS += $(base_unit_tests)
tests_unit_base_test_buf_SOURCES = tests/unit/base/test_buf.c tests/support/unit.h
tests_unit_base_test_buf_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_buf_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_bytes_SOURCES = tests/unit/base/test_bytes.c tests/support/unit.h
tests_unit_base_test_bytes_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_bytes_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_crc_SOURCES = tests/unit/base/test_crc.c tests/support/unit.h
tests_unit_base_test_crc_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_crc_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_fs_SOURCES = tests/unit/base/test_fs.c tests/support/unit.h
tests_unit_base_test_fs_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_fs_LDADD = $(SUPPORT_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_hash_SOURCES = tests/unit/base/test_hash.c tests/support/unit.h
tests_unit_base_test_hash_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_hash_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_logging_SOURCES = tests/unit/base/test_logging.c tests/support/unit.h
tests_unit_base_test_logging_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_logging_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_mem_SOURCES = tests/unit/base/test_mem.c tests/support/unit.h
tests_unit_base_test_mem_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_mem_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_num_SOURCES = tests/unit/base/test_num.c tests/support/unit.h
tests_unit_base_test_num_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_num_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_rng_SOURCES = tests/unit/base/test_rng.c tests/support/unit.h
tests_unit_base_test_rng_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_rng_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
tests_unit_base_test_worker_SOURCES = tests/unit/base/test_worker.c tests/support/unit.h
tests_unit_base_test_worker_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_base_test_worker_LDADD = $(BASE_LIBS) $(CMOCKA_LIBS)
endif
