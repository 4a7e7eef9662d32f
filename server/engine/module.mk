noinst_LIBRARIES += server/engine/libengine.a
server_engine_libengine_a_SOURCES = 
