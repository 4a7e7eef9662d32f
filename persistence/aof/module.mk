noinst_LIBRARIES += persistence/aof/libaof.a
persistence_aof_libaof_a_SOURCES = \
	persistence/aof/aof.c persistence/aof/aof.h persistence/aof/aof_int.h \
	persistence/aof/aof_files.c persistence/aof/aof_life.c \
	persistence/aof/check.c persistence/aof/check.h \
	persistence/aof/command_form.c persistence/aof/command_form.h \
	persistence/aof/loader.c persistence/aof/loader.h \
	persistence/aof/manifest.c persistence/aof/manifest.h \
	persistence/aof/writer.c persistence/aof/writer.h

if HAVE_CMOCKA
check_PROGRAMS += tests/unit/aof/test_aof_sim
TESTS += tests/unit/aof/test_aof_sim
tests_unit_aof_test_aof_sim_SOURCES = tests/unit/aof/test_aof_sim.c tests/unit/aof/sim_node.c tests/unit/aof/sim_node.h \
	tests/support/simdisk.c tests/support/simdisk.h tests/support/simdisk_int.h tests/support/simdisk_medium.c tests/support/unit.h
tests_unit_aof_test_aof_sim_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_aof_test_aof_sim_LDADD = $(AOF_LIBS) $(CMOCKA_LIBS)
endif
