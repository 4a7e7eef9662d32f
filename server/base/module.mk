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
	server/base/rng.c server/base/rng.h \
	server/base/slice.h \
	server/base/worker.c server/base/worker.h
server_base_libbase_a_CPPFLAGS = $(AM_CPPFLAGS) $(OPENSSL_CFLAGS)
