/* Assertions that stay on in release builds. Never for outside input: that is an error reply. */
#ifndef HF_BASE_ASSERT_H
#define HF_BASE_ASSERT_H

/* Logs file, line and expression at warning level, then abort()s (the daemon's crash handler prints the report). */
_Noreturn void assert_failed(const char *expr, const char *file, int line);
_Noreturn void panic(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#define HF_ASSERT(e) (__builtin_expect(!!(e), 1) ? (void)0 : assert_failed(#e, __FILE__, __LINE__))
#define HF_PANIC(...) panic(__FILE__, __LINE__, __VA_ARGS__)

#endif
