noinst_LIBRARIES += server/store/libstore.a
server_store_libstore_a_SOURCES = \
	server/store/collection.c server/store/collection.h \
	server/store/database.c \
	server/store/deadline.c server/store/deadline.h \
	server/store/entry.c server/store/entry.h server/store/entry_int.h \
	server/store/eviction.c \
	server/store/expiry.c \
	server/store/field_expiry.c \
	server/store/fields.c server/store/fields.h \
	server/store/hash.c server/store/hash.h \
	server/store/keyspace.c server/store/keyspace.h server/store/keyspace_int.h \
	server/store/lazyfree.c \
	server/store/list.c server/store/list.h \
	server/store/scan.c \
	server/store/set.c server/store/set.h \
	server/store/small.c server/store/small.h \
	server/store/sorted_set.c server/store/sorted_set.h \
	server/store/stream.c server/store/stream.h server/store/stream_int.h \
	server/store/stream_group.c \
	server/store/stream_type.c \
	server/store/type.c server/store/type.h \
	server/store/value.c server/store/value.h \
	server/store/zset.c server/store/zset.h

check_PROGRAMS += tests/bench/keyspace_bench
tests_bench_keyspace_bench_LDADD = $(STORE_LIBS)
check_PROGRAMS += tests/bench/collections_bench
tests_bench_collections_bench_LDADD = $(STORE_LIBS)

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/store/test_deadline tests/unit/store/test_eviction tests/unit/store/test_keyspace
TESTS += tests/unit/store/test_deadline tests/unit/store/test_eviction tests/unit/store/test_keyspace
tests_unit_store_test_deadline_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_deadline_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
tests_unit_store_test_eviction_SOURCES = tests/unit/store/fixture.h tests/unit/store/test_eviction.c
tests_unit_store_test_eviction_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_eviction_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
tests_unit_store_test_keyspace_SOURCES = tests/unit/store/fixture.h tests/unit/store/test_keyspace.c
tests_unit_store_test_keyspace_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_keyspace_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_sorted_set
TESTS += tests/unit/store/test_sorted_set
tests_unit_store_test_sorted_set_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_sorted_set_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_zset
TESTS += tests/unit/store/test_zset
tests_unit_store_test_zset_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_zset_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_fields
TESTS += tests/unit/store/test_fields
tests_unit_store_test_fields_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_fields_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_small
TESTS += tests/unit/store/test_small
tests_unit_store_test_small_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_small_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_list
TESTS += tests/unit/store/test_list
tests_unit_store_test_list_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_list_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_set
TESTS += tests/unit/store/test_set
tests_unit_store_test_set_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_set_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_hash tests/unit/store/test_field_expiry
TESTS += tests/unit/store/test_hash tests/unit/store/test_field_expiry
tests_unit_store_test_hash_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_hash_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
tests_unit_store_test_field_expiry_SOURCES = tests/unit/store/fixture.h tests/unit/store/test_field_expiry.c
tests_unit_store_test_field_expiry_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_field_expiry_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
check_PROGRAMS += tests/unit/store/test_stream
TESTS += tests/unit/store/test_stream
tests_unit_store_test_stream_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_store_test_stream_LDADD = $(STORE_LIBS) $(CMOCKA_LIBS)
endif
