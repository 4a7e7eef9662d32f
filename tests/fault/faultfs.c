/* faultfs: a preloaded library that makes the disk slow, full, broken or fatal, for the files of one directory.
 *
 * FAULT_DIR names the directory (files elsewhere and sockets are never touched), FAULT_CTL a file of sizeof(struct ctl)
 * bytes that the test maps as well: rules and the kill point may change while the process runs, and the trace shows what
 * it did. A forked child inherits everything. Descriptors are tracked from the open that names them.
 *
 * Interposed: open*, creat, write, writev, pwrite, pwritev, fsync, fdatasync, sync_file_range, rename*, link, unlink*,
 * ftruncate, truncate, fallocate, mkdir, read, pread, close, dup*; and stdio's fopen, whose buffers are flushed through the same
 * write (glibc's own would go past the library). Order of effects of one call: count and kill, delay, error, the call.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* The classes of calls; faults.py has the same numbers. LOOK is an open that cannot change anything. */
enum kind { K_OPEN, K_WRITE, K_FSYNC, K_RENAME, K_UNLINK, K_TRUNCATE, K_CLOSE, K_READ, K_MKDIR, K_LINK, K_LOOK };

enum { RULES = 8, PATH_BYTES = 112, TRACE = 8192, FDS = 65536 };
enum kill_when { KILL_BEFORE, KILL_AFTER, KILL_MIDDLE };          /* MIDDLE: half of a write gets through */
enum kill_who { WHO_MAIN, WHO_ANY, WHO_ALL };                     /* ALL: whoever calls, main process and caller die */

struct rule {
  uint32_t kinds;      /* bit per kind; 0 = the rule is off */
  int32_t error;       /* errno, 0 = none */
  _Atomic int64_t remaining; /* calls it still applies to; -1 = until cleared */
  _Atomic int64_t skip;      /* matching calls to let pass first */
  uint64_t delay_us;
  int64_t short_bytes; /* ≥ 0: a write takes at most this many */
  _Atomic uint64_t hits;
  char path[PATH_BYTES]; /* substring of the absolute path; empty = all */
};

struct trace {
  uint8_t kind;
  uint8_t killed;
  uint16_t spare;
  int32_t pid;
  int32_t error;
  int32_t spare2;
  int64_t result;
  char path[PATH_BYTES];
};

struct ctl {
  uint32_t spare0;
  _Atomic int32_t main_pid;
  _Atomic uint64_t counter; /* counted calls since the test reset it */
  _Atomic uint64_t kill_at; /* the counted call that kills; 0 = none */
  uint32_t kill_when;
  uint32_t kill_who;
  uint32_t count_kinds;
  uint32_t spare;
  char count_path[PATH_BYTES];
  _Atomic uint64_t trace_len; /* entries ever written; the array is a ring */
  _Atomic uint64_t killed;    /* set when the kill point was reached */
  struct rule rules[RULES];
  struct trace trace[TRACE];
};

_Static_assert(sizeof(struct rule) == 160, "faults.py knows this layout");
_Static_assert(offsetof(struct ctl, count_path) == 40, "faults.py knows this layout");
_Static_assert(offsetof(struct ctl, rules) == 168, "faults.py knows this layout");
_Static_assert(sizeof(struct trace) == 136, "faults.py knows this layout");

static struct ctl *ctl;
static char dir[PATH_MAX];
static size_t dir_len;
static _Atomic(char *) fd_path[FDS]; /* the absolute path of a tracked descriptor */

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void set_up(void) {
  const char *d = getenv("FAULT_DIR");
  const char *c = getenv("FAULT_CTL");
  if (!d || !c || !realpath(d, dir)) return;
  dir_len = strlen(dir);
  REAL(open);
  int fd = real(c, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *p = mmap(NULL, sizeof(struct ctl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (p != MAP_FAILED) ctl = p;
  if (ctl) {
    int32_t none = 0;
    atomic_compare_exchange_strong(&ctl->main_pid, &none, getpid());
  }
}

static bool inside(const char *path) { return ctl && strncmp(path, dir, dir_len) == 0 && (path[dir_len] == '/' || path[dir_len] == 0); }

/* The absolute path of (dirfd, path), as far as the text tells: links inside the directory are not followed. */
static bool absolute(int dirfd, const char *path, char out[PATH_MAX]) {
  if (!ctl || !path) return false;
  char base[PATH_MAX] = "";
  if (path[0] != '/') {
    if (dirfd == AT_FDCWD) {
      if (!getcwd(base, sizeof base)) return false;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
      ssize_t n = readlink(link, base, sizeof base - 1);
      if (n < 0) return false;
      base[n] = 0;
    }
    while (strncmp(path, "./", 2) == 0) path += 2;
  }
  int n = snprintf(out, PATH_MAX, "%s%s%s", base, path[0] == '/' ? "" : "/", path);
  return n > 0 && n < PATH_MAX && inside(out);
}

static const char *tracked(int fd) { return ctl && fd >= 0 && fd < FDS ? atomic_load(&fd_path[fd]) : NULL; }

static void track(int fd, const char *path) {
  if (fd < 0 || fd >= FDS) return;
  /* The old text is leaked: another thread may be reading it, and a test process is short. */
  atomic_store(&fd_path[fd], path ? strdup(path) : NULL);
}

static void record(enum kind kind, const char *path, int64_t result, int error, bool killed) {
  uint64_t at = atomic_fetch_add(&ctl->trace_len, 1) % TRACE;
  struct trace *t = &ctl->trace[at];
  t->kind = (uint8_t)kind;
  t->killed = killed;
  t->pid = getpid();
  t->error = error;
  t->result = result;
  size_t n = strlen(path), skip = n >= PATH_BYTES ? n - PATH_BYTES + 1 : 0;
  strcpy(t->path, path + skip);
}

/* What is to happen to one call. */
struct verdict {
  bool kill_after;
  bool kill_middle;
  int error;
  int64_t short_bytes;
};

static void die(enum kind kind, const char *path) {
  atomic_store(&ctl->killed, 1);
  record(kind, path, -1, 0, true);
  if (ctl->kill_who == WHO_ALL && ctl->main_pid != getpid()) kill(ctl->main_pid, SIGKILL);
  for (;;) kill(getpid(), SIGKILL);
}

static struct verdict judge(enum kind kind, const char *path) {
  struct verdict v = {.short_bytes = -1};
  uint32_t bit = 1u << kind;
  bool counts = (ctl->count_kinds & bit) && (!ctl->count_path[0] || strstr(path, ctl->count_path)) &&
                (ctl->kill_who != WHO_MAIN || ctl->main_pid == getpid());
  if (counts) {
    uint64_t n = atomic_fetch_add(&ctl->counter, 1) + 1;
    if (n == atomic_load(&ctl->kill_at)) {
      if (ctl->kill_when == KILL_BEFORE || (ctl->kill_when == KILL_MIDDLE && kind != K_WRITE)) die(kind, path);
      v.kill_after = ctl->kill_when == KILL_AFTER;
      v.kill_middle = ctl->kill_when == KILL_MIDDLE;
    }
  }
  for (int i = 0; i < RULES; i++) {
    struct rule *r = &ctl->rules[i];
    if (!(r->kinds & bit) || (r->path[0] && !strstr(path, r->path))) continue;
    if (atomic_load(&r->skip) > 0 && atomic_fetch_sub(&r->skip, 1) > 0) continue;
    int64_t left = atomic_load(&r->remaining);
    if (left == 0) continue;
    if (left > 0 && atomic_fetch_sub(&r->remaining, 1) <= 0) continue;
    atomic_fetch_add(&r->hits, 1);
    if (r->delay_us) {
      struct timespec t = {.tv_sec = (time_t)(r->delay_us / 1000000), .tv_nsec = (long)(r->delay_us % 1000000) * 1000};
      while (nanosleep(&t, &t) != 0 && errno == EINTR) {}
    }
    if (r->error) v.error = r->error;
    if (r->short_bytes >= 0) v.short_bytes = r->short_bytes;
  }
  return v;
}

static int64_t finish(enum kind kind, const char *path, const struct verdict *v, int64_t result) {
  int saved = errno;
  record(kind, path, result, result < 0 ? saved : 0, v->kill_after);
  if (v->kill_after) die(kind, path);
  errno = saved;
  return result;
}

static int64_t refuse(enum kind kind, const char *path, const struct verdict *v) {
  errno = v->error;
  return finish(kind, path, v, -1);
}

/* --- names --- */

static int open_common(int dirfd, const char *path, int flags, mode_t mode) {
  REAL(openat);
  char full[PATH_MAX];
  if ((flags & O_TMPFILE) == O_TMPFILE || !absolute(dirfd, path, full)) {
    int fd = real(dirfd, path, flags, mode);
    if (fd >= 0 && fd < FDS && ctl) track(fd, NULL);
    return fd;
  }
  enum kind kind = (flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) ? K_OPEN : K_LOOK;
  struct verdict v = judge(kind, full);
  if (v.error) return (int)refuse(kind, full, &v);
  int fd = real(dirfd, path, flags, mode);
  track(fd, full);
  return (int)finish(kind, full, &v, fd);
}

#define OPEN_MODE(flags) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list ap; \
    va_start(ap, flags); \
    mode = (mode_t)va_arg(ap, int); \
    va_end(ap); \
  }

int open(const char *path, int flags, ...) {
  OPEN_MODE(flags)
  return open_common(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  OPEN_MODE(flags)
  return open_common(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}
int openat(int dirfd, const char *path, int flags, ...) {
  OPEN_MODE(flags)
  return open_common(dirfd, path, flags, mode);
}
int openat64(int dirfd, const char *path, int flags, ...) {
  OPEN_MODE(flags)
  return open_common(dirfd, path, flags | O_LARGEFILE, mode);
}
int creat(const char *path, mode_t mode) { return open_common(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
/* Fortified callers come in by these names. */
int __open_2(const char *path, int flags);
int __open_2(const char *path, int flags) { return open_common(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags);
int __open64_2(const char *path, int flags) { return open_common(AT_FDCWD, path, flags | O_LARGEFILE, 0); }
int __openat_2(int dirfd, const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags) { return open_common(dirfd, path, flags, 0); }
int __openat64_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags) { return open_common(dirfd, path, flags | O_LARGEFILE, 0); }

int mkostemps(char *template, int suffix_len, int flags) {
  REAL(mkostemps);
  char full[PATH_MAX];
  if (!absolute(AT_FDCWD, template, full)) return real(template, suffix_len, flags);
  struct verdict v = judge(K_OPEN, full);
  if (v.error) return (int)refuse(K_OPEN, full, &v);
  int fd = real(template, suffix_len, flags);
  if (absolute(AT_FDCWD, template, full)) track(fd, full);
  return (int)finish(K_OPEN, full, &v, fd);
}
int mkstemp(char *template) { return mkostemps(template, 0, 0); }
int mkstemp64(char *template) { return mkostemps(template, 0, O_LARGEFILE); }
int mkostemp(char *template, int flags) { return mkostemps(template, 0, flags); }
int mkostemp64(char *template, int flags) { return mkostemps(template, 0, flags | O_LARGEFILE); }
int mkstemps(char *template, int suffix_len) { return mkostemps(template, suffix_len, 0); }

/* Two-name calls are judged by the new name, and by the old one where the new one is elsewhere. */
#define TWO_NAMES(kind, olddir, old, newdir, new, call) \
  char full[PATH_MAX]; \
  if (!absolute(newdir, new, full) && !absolute(olddir, old, full)) return call; \
  struct verdict v = judge(kind, full); \
  if (v.error) return (int)refuse(kind, full, &v); \
  return (int)finish(kind, full, &v, call)

int rename(const char *old, const char *new) {
  REAL(rename);
  TWO_NAMES(K_RENAME, AT_FDCWD, old, AT_FDCWD, new, real(old, new));
}
int renameat(int olddir, const char *old, int newdir, const char *new) {
  REAL(renameat);
  TWO_NAMES(K_RENAME, olddir, old, newdir, new, real(olddir, old, newdir, new));
}
int renameat2(int olddir, const char *old, int newdir, const char *new, unsigned flags) {
  REAL(renameat2);
  TWO_NAMES(K_RENAME, olddir, old, newdir, new, real(olddir, old, newdir, new, flags));
}
int link(const char *old, const char *new) {
  REAL(link);
  TWO_NAMES(K_LINK, AT_FDCWD, old, AT_FDCWD, new, real(old, new));
}
int linkat(int olddir, const char *old, int newdir, const char *new, int flags) {
  REAL(linkat);
  TWO_NAMES(K_LINK, olddir, old, newdir, new, real(olddir, old, newdir, new, flags));
}

#define ONE_NAME(kind, dirfd, path, call) \
  char full[PATH_MAX]; \
  if (!absolute(dirfd, path, full)) return call; \
  struct verdict v = judge(kind, full); \
  if (v.error) return (int)refuse(kind, full, &v); \
  return (int)finish(kind, full, &v, call)

int unlink(const char *path) {
  REAL(unlink);
  ONE_NAME(K_UNLINK, AT_FDCWD, path, real(path));
}
int unlinkat(int dirfd, const char *path, int flags) {
  REAL(unlinkat);
  ONE_NAME(K_UNLINK, dirfd, path, real(dirfd, path, flags));
}
int truncate(const char *path, off_t len) {
  REAL(truncate);
  ONE_NAME(K_TRUNCATE, AT_FDCWD, path, real(path, len));
}
int truncate64(const char *path, off64_t len) { return truncate(path, len); }
int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  ONE_NAME(K_MKDIR, AT_FDCWD, path, real(path, mode));
}
int mkdirat(int dirfd, const char *path, mode_t mode) {
  REAL(mkdirat);
  ONE_NAME(K_MKDIR, dirfd, path, real(dirfd, path, mode));
}

/* --- descriptors --- */

#define ON_FD(kind, fd, call) \
  const char *path = tracked(fd); \
  if (!path) return call; \
  struct verdict v = judge(kind, path); \
  if (v.error) return (int)refuse(kind, path, &v); \
  return (int)finish(kind, path, &v, call)

int fsync(int fd) {
  REAL(fsync);
  ON_FD(K_FSYNC, fd, real(fd));
}
int fdatasync(int fd) {
  REAL(fdatasync);
  ON_FD(K_FSYNC, fd, real(fd));
}
int sync_file_range(int fd, off64_t off, off64_t len, unsigned flags) {
  REAL(sync_file_range);
  ON_FD(K_FSYNC, fd, real(fd, off, len, flags));
}
int ftruncate(int fd, off_t len) {
  REAL(ftruncate);
  ON_FD(K_TRUNCATE, fd, real(fd, len));
}
int ftruncate64(int fd, off64_t len) { return ftruncate(fd, len); }
int fallocate(int fd, int mode, off_t off, off_t len) {
  REAL(fallocate);
  ON_FD(K_TRUNCATE, fd, real(fd, mode, off, len));
}
int fallocate64(int fd, int mode, off64_t off, off64_t len) { return fallocate(fd, mode, off, len); }
int posix_fallocate(int fd, off_t off, off_t len) {
  REAL(posix_fallocate);
  const char *path = tracked(fd);
  if (!path) return real(fd, off, len);
  struct verdict v = judge(K_TRUNCATE, path);
  if (v.error) return refuse(K_TRUNCATE, path, &v), v.error;
  int error = real(fd, off, len);
  finish(K_TRUNCATE, path, &v, error ? -1 : 0);
  return error;
}
int posix_fallocate64(int fd, off64_t off, off64_t len) { return posix_fallocate(fd, off, len); }

int close(int fd) {
  REAL(close);
  const char *path = tracked(fd);
  if (!path) return real(fd);
  struct verdict v = judge(K_CLOSE, path);
  track(fd, NULL);
  int result = real(fd); /* as in the kernel: the descriptor is gone whatever close reports */
  if (v.error) return (int)refuse(K_CLOSE, path, &v);
  return (int)finish(K_CLOSE, path, &v, result);
}

int dup(int fd) {
  REAL(dup);
  int n = real(fd);
  if (n >= 0) track(n, tracked(fd));
  return n;
}
int dup2(int fd, int to) {
  REAL(dup2);
  int n = real(fd, to);
  if (n >= 0 && n != fd) track(n, tracked(fd));
  return n;
}
int dup3(int fd, int to, int flags) {
  REAL(dup3);
  int n = real(fd, to, flags);
  if (n >= 0) track(n, tracked(fd));
  return n;
}

/* How many bytes of a write get through; the rest is the verdict's. */
static size_t allowed(const struct verdict *v, size_t len) {
  if (v->kill_middle) return len / 2;
  return v->short_bytes >= 0 && (size_t)v->short_bytes < len ? (size_t)v->short_bytes : len;
}

static ssize_t wrote(const char *path, const struct verdict *v, ssize_t n) {
  if (v->kill_middle) die(K_WRITE, path);
  return finish(K_WRITE, path, v, n);
}

ssize_t write(int fd, const void *buf, size_t len) {
  REAL(write);
  const char *path = tracked(fd);
  if (!path) return real(fd, buf, len);
  struct verdict v = judge(K_WRITE, path);
  if (v.error) return refuse(K_WRITE, path, &v);
  return wrote(path, &v, real(fd, buf, allowed(&v, len)));
}
ssize_t pwrite(int fd, const void *buf, size_t len, off_t off) {
  REAL(pwrite);
  const char *path = tracked(fd);
  if (!path) return real(fd, buf, len, off);
  struct verdict v = judge(K_WRITE, path);
  if (v.error) return refuse(K_WRITE, path, &v);
  return wrote(path, &v, real(fd, buf, allowed(&v, len), off));
}
ssize_t pwrite64(int fd, const void *buf, size_t len, off64_t off) { return pwrite(fd, buf, len, off); }

static size_t iov_cut(const struct iovec *iov, int n, size_t most, struct iovec *out) {
  int i = 0;
  for (; i < n && most > 0; i++) {
    out[i] = iov[i];
    if (out[i].iov_len > most) out[i].iov_len = most;
    most -= out[i].iov_len;
  }
  return (size_t)i;
}

static size_t iov_bytes(const struct iovec *iov, int n) {
  size_t sum = 0;
  for (int i = 0; i < n; i++) sum += iov[i].iov_len;
  return sum;
}

ssize_t writev(int fd, const struct iovec *iov, int n) {
  REAL(writev);
  const char *path = tracked(fd);
  if (!path) return real(fd, iov, n);
  struct verdict v = judge(K_WRITE, path);
  if (v.error) return refuse(K_WRITE, path, &v);
  struct iovec cut[IOV_MAX];
  size_t parts = iov_cut(iov, n, allowed(&v, iov_bytes(iov, n)), cut);
  return wrote(path, &v, real(fd, cut, (int)parts));
}
ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off) {
  REAL(pwritev);
  const char *path = tracked(fd);
  if (!path) return real(fd, iov, n, off);
  struct verdict v = judge(K_WRITE, path);
  if (v.error) return refuse(K_WRITE, path, &v);
  struct iovec cut[IOV_MAX];
  size_t parts = iov_cut(iov, n, allowed(&v, iov_bytes(iov, n)), cut);
  return wrote(path, &v, real(fd, cut, (int)parts, off));
}
ssize_t pwritev64(int fd, const struct iovec *iov, int n, off64_t off) { return pwritev(fd, iov, n, off); }

/* Reads are judged for errors and delays, but not traced: a load would push everything else out of the ring. */
#define READ_RULES(fd, call) \
  const char *path = tracked(fd); \
  if (path) { \
    struct verdict v = judge(K_READ, path); \
    if (v.error) return (ssize_t)refuse(K_READ, path, &v); \
  } \
  return call

ssize_t read(int fd, void *buf, size_t len) {
  REAL(read);
  READ_RULES(fd, real(fd, buf, len));
}
ssize_t pread(int fd, void *buf, size_t len, off_t off) {
  REAL(pread);
  READ_RULES(fd, real(fd, buf, len, off));
}
ssize_t pread64(int fd, void *buf, size_t len, off64_t off) { return pread(fd, buf, len, off); }

/* --- stdio: a stream over the interposed calls --- */

struct stream {
  FILE *file;
  int fd;
  struct stream *next;
};
static _Atomic(struct stream *) streams;

static struct stream *stream_of(FILE *f) {
  for (struct stream *s = atomic_load(&streams); s; s = s->next)
    if (s->file == f) return s;
  return NULL;
}
static ssize_t cookie_read(void *c, char *buf, size_t n) { return read(((struct stream *)c)->fd, buf, n); }
static ssize_t cookie_write(void *c, const char *buf, size_t n) { return write(((struct stream *)c)->fd, buf, n); }
static int cookie_seek(void *c, off64_t *off, int whence) {
  off64_t at = lseek64(((struct stream *)c)->fd, *off, whence);
  if (at < 0) return -1;
  *off = at;
  return 0;
}
static int cookie_close(void *c) {
  struct stream *s = c;
  s->file = NULL; /* the record stays in the list: others may be walking it */
  return close(s->fd);
}

static FILE *stream_open(const char *path, const char *mode) {
  int flags = mode[0] == 'r' ? O_RDONLY : O_WRONLY | O_CREAT | (mode[0] == 'a' ? O_APPEND : O_TRUNC);
  if (strchr(mode, '+')) flags = (flags & ~(O_RDONLY | O_WRONLY)) | O_RDWR;
  if (strchr(mode, 'e')) flags |= O_CLOEXEC;
  int fd = open(path, flags, 0666);
  if (fd < 0) return NULL;
  struct stream *s = calloc(1, sizeof *s);
  if (!s) abort();
  s->fd = fd;
  cookie_io_functions_t io = {cookie_read, cookie_write, cookie_seek, cookie_close};
  s->file = fopencookie(s, mode, io);
  s->next = atomic_load(&streams);
  while (!atomic_compare_exchange_weak(&streams, &s->next, s)) {}
  return s->file;
}

FILE *fopen(const char *path, const char *mode) {
  REAL(fopen);
  char full[PATH_MAX];
  return absolute(AT_FDCWD, path, full) ? stream_open(path, mode) : real(path, mode);
}
FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }
int fileno(FILE *f) {
  REAL(fileno);
  struct stream *s = ctl ? stream_of(f) : NULL;
  return s ? s->fd : real(f);
}
