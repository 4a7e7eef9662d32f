noinst_LIBRARIES += server/base/libbase.a
server_base_libbase_a_SOURCES = server/base/assert.h server/base/buf.h server/base/clock.h server/base/crc.h server/base/endian.h server/base/fs.h server/base/hash.h server/base/logging.h server/base/mem.h server/base/num.h server/base/rng.h server/base/slice.h server/base/worker.h 
