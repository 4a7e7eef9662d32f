noinst_LIBRARIES += server/store/libstore.a
server_store_libstore_a_SOURCES = 
