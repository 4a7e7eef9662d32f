noinst_LIBRARIES += server/ds/libds.a
server_ds_libds_a_SOURCES = 
