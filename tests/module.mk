# The layer check (its header says what it reads from the environment).
dist_check_SCRIPTS += tests/layers
TESTS += tests/layers
AM_TESTS_ENVIRONMENT = \
	HF_CC='$(CC)'; export HF_CC; \
	HF_CPPFLAGS='$(CPPFLAGS) $(OPENSSL_CFLAGS) $(LZ4_CFLAGS) $(ZLIB_CFLAGS) $(SYSTEMD_CFLAGS)'; export HF_CPPFLAGS; \
	HF_CFLAGS='-std=gnu17 -pthread $(SAN_CFLAGS)'; export HF_CFLAGS; \
	HF_LIBS='$(OPENSSL_LIBS) $(JEMALLOC_LIBS) $(LZ4_LIBS) $(ZLIB_LIBS) $(LIBM)'; export HF_LIBS;

# What unit tests share: $(SUPPORT_LIBS) goes in front of the libraries of the layer under test.
SUPPORT_LIBS = tests/support/libsupport.a
check_LIBRARIES = tests/support/libsupport.a
tests_support_libsupport_a_SOURCES = \
	tests/support/simdisk.c tests/support/simdisk.h \
	tests/support/simdisk_int.h tests/support/simdisk_medium.c

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/support/test_simdisk
TESTS += tests/unit/support/test_simdisk
tests_unit_support_test_simdisk_SOURCES = tests/unit/support/test_simdisk.c tests/support/unit.h
tests_unit_support_test_simdisk_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_support_test_simdisk_LDADD = $(SUPPORT_LIBS) $(BASE_LIBS) $(CMOCKA_LIBS)
endif

include tests/fuzz/module.mk
