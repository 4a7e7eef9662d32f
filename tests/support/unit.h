/* cmocka with the headers it wants before it, and comparisons that it lacks. Include after the header under test. */
#ifndef HF_TESTS_SUPPORT_UNIT_H
#define HF_TESTS_SUPPORT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

/* The n bytes at p are the C string s. */
#define assert_bytes_are(p, n, s)                                                                                      \
    do {                                                                                                               \
        assert_int_equal((n), strlen(s));                                                                              \
        assert_memory_equal((p), (s), (n));                                                                            \
    } while (0)

#endif
