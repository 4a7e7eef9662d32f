noinst_LIBRARIES += persistence/snapshot/libsnapshot.a
persistence_snapshot_libsnapshot_a_SOURCES = 
