noinst_LIBRARIES += persistence/rdb/librdb.a
persistence_rdb_librdb_a_SOURCES = 
