noinst_LIBRARIES += persistence/snapshot/libsnapshot.a
persistence_snapshot_libsnapshot_a_SOURCES = \
	persistence/snapshot/child.c persistence/snapshot/child.h \
	persistence/snapshot/snapshot.c persistence/snapshot/snapshot.h
