noinst_LIBRARIES += persistence/aof/libaof.a
persistence_aof_libaof_a_SOURCES = \
	persistence/aof/aof.c persistence/aof/aof.h persistence/aof/aof_int.h \
	persistence/aof/aof_files.c persistence/aof/aof_life.c \
	persistence/aof/check.c persistence/aof/check.h \
	persistence/aof/command_form.c persistence/aof/command_form.h persistence/aof/value_form.h \
	persistence/aof/hash_form.c \
	persistence/aof/list_form.c \
	persistence/aof/loader.c persistence/aof/loader.h \
	persistence/aof/manifest.c persistence/aof/manifest.h \
	persistence/aof/set_form.c \
	persistence/aof/stream_form.c \
	persistence/aof/writer.c persistence/aof/writer.h \
	persistence/aof/zset_form.c

if HAVE_CMOCKA
AOF_TESTS = tests/unit/aof/test_aof_sim tests/unit/aof/test_aof_damage tests/unit/aof/test_aof_files tests/unit/aof/test_manifest
check_PROGRAMS += $(AOF_TESTS)
TESTS += $(AOF_TESTS)
# The node in miniature brings its own clock and threads, in front of those of the base library.
AOF_SIM_SOURCES = tests/unit/aof/sim_node.c tests/unit/aof/sim_node.h tests/support/unit.h
tests_unit_aof_test_aof_sim_SOURCES = tests/unit/aof/test_aof_sim.c $(AOF_SIM_SOURCES)
tests_unit_aof_test_aof_sim_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_aof_test_aof_sim_LDADD = $(SUPPORT_LIBS) $(AOF_LIBS) $(CMOCKA_LIBS)
tests_unit_aof_test_aof_damage_SOURCES = tests/unit/aof/test_aof_damage.c $(AOF_SIM_SOURCES)
tests_unit_aof_test_aof_damage_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_aof_test_aof_damage_LDADD = $(SUPPORT_LIBS) $(AOF_LIBS) $(CMOCKA_LIBS)
tests_unit_aof_test_aof_files_SOURCES = tests/unit/aof/test_aof_files.c tests/support/unit.h
tests_unit_aof_test_aof_files_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_aof_test_aof_files_LDADD = $(SUPPORT_LIBS) $(AOF_LIBS) $(CMOCKA_LIBS)
tests_unit_aof_test_manifest_SOURCES = tests/unit/aof/test_manifest.c tests/support/unit.h
tests_unit_aof_test_manifest_CPPFLAGS = $(UNIT_CPPFLAGS)
tests_unit_aof_test_manifest_LDADD = $(SUPPORT_LIBS) $(AOF_LIBS) $(CMOCKA_LIBS)
endif
