/* loadgen: load for one server at a fixed rate (open loop), or as fast as it takes it to fill a key space.
 *
 *   loadgen -p PORT [-c CONNS] [-r RATE] [-n REQUESTS] [-k KEYS] [-d VALUE_BYTES] [-w WRITE_PERCENT] [-x]
 *   loadgen -p PORT -F -n KEYS [-d VALUE_BYTES] [-e SECONDS]
 *
 * At a fixed rate request i is due at start + i / RATE and is sent then whether or not earlier ones have been answered;
 * its latency counts from when it was due. So a stall of the server is seen by every request that fell into it
 * (no coordinated omission), and a generator that is late counts against the figure too. The connections take turns.
 * Keys are 16 bytes, key:000000000000 upward; -w is the share of SETs, the rest are GETs; -x splits the connections: the writers get
 * their share of connections, the readers never write. Latencies in microseconds, one JSON object on stdout.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Latencies fall into buckets of 1/64 of their magnitude: an error below 1.6 %. */
enum { SUB_BITS = 6, SUB = 1 << SUB_BITS, BUCKETS = (64 - SUB_BITS) * SUB, IN_BYTES = 1 << 16 };

struct histogram {
  uint64_t bucket[BUCKETS];
  uint64_t count, max_ns, sum_ns;
};

struct conn {
  int fd;
  bool writer;
  char *out;
  size_t out_len, out_cap;
  /* When each request that is not yet answered was due; a ring. The low bit says SET. */
  uint64_t *due;
  size_t due_head, due_len, due_cap;
  /* The state of the reply parser: bytes of a bulk still to skip, or a line being read. */
  uint64_t skip;
  char line[64];
  size_t line_len;
};

static struct {
  int port, conns;
  double rate;
  uint64_t requests, keys, seconds;
  size_t value_bytes;
  int write_percent;
  bool split, fill;
} opt = {.conns = 50, .rate = 20000, .requests = 200000, .keys = 1000000, .value_bytes = 64, .write_percent = 50};

static struct histogram all, reads, writes;
static uint64_t errors;
static char *value;

static void fail(const char *what) {
  fprintf(stderr, "loadgen: %s: %s\n", what, strerror(errno));
  exit(1);
}

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t random_next(void) {
  static uint64_t x = 88172645463325252u;
  x ^= x << 13;
  x ^= x >> 7;
  x ^= x << 17;
  return x;
}

static int bucket_of(uint64_t ns) {
  if (ns < SUB) return (int)ns;
  int shift = 63 - __builtin_clzll(ns) - SUB_BITS;
  return (shift + 1) * SUB + (int)((ns >> shift) - SUB);
}

static uint64_t bucket_top(int b) {
  if (b < SUB) return (uint64_t)b;
  int shift = b / SUB - 1;
  return ((uint64_t)(b % SUB + SUB + 1) << shift) - 1;
}

static void note(struct histogram *h, uint64_t ns) {
  h->bucket[bucket_of(ns)]++;
  h->count++;
  h->sum_ns += ns;
  if (ns > h->max_ns) h->max_ns = ns;
}

static double percentile_us(const struct histogram *h, double p) {
  uint64_t want = (uint64_t)((double)h->count * p / 100 + 0.5), seen = 0;
  if (want == 0) want = 1;
  for (int b = 0; b < BUCKETS; b++) {
    seen += h->bucket[b];
    if (seen >= want) return (double)(bucket_top(b) < h->max_ns ? bucket_top(b) : h->max_ns) / 1000;
  }
  return 0;
}

static void print_histogram(const char *name, const struct histogram *h, const char *tail) {
  printf("\"%s\": {\"count\": %llu, \"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, \"p99.9\": %.1f, \"max\": %.1f}%s", name,
         (unsigned long long)h->count, h->count ? (double)h->sum_ns / (double)h->count / 1000 : 0, percentile_us(h, 50),
         percentile_us(h, 90), percentile_us(h, 99), percentile_us(h, 99.9), (double)h->max_ns / 1000, tail);
}

static void conn_open(struct conn *c) {
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof a) != 0) fail("connect");
  int one = 1;
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0) fail("fcntl");
}

static void conn_put(struct conn *c, const char *bytes, size_t n) {
  if (c->out_len + n > c->out_cap) {
    c->out_cap = (c->out_len + n) * 2;
    c->out = realloc(c->out, c->out_cap);
    if (!c->out) fail("memory");
  }
  memcpy(c->out + c->out_len, bytes, n);
  c->out_len += n;
}

static void conn_expect(struct conn *c, uint64_t due, bool set) {
  if (c->due_len == c->due_cap) {
    size_t cap = c->due_cap ? c->due_cap * 2 : 64;
    uint64_t *ring = malloc(cap * sizeof *ring);
    if (!ring) fail("memory");
    for (size_t i = 0; i < c->due_len; i++) ring[i] = c->due[(c->due_head + i) % c->due_cap];
    free(c->due);
    c->due = ring;
    c->due_head = 0;
    c->due_cap = cap;
  }
  c->due[(c->due_head + c->due_len++) % c->due_cap] = (due & ~(uint64_t)1) | set;
}

static void conn_flush(struct conn *c) {
  size_t sent = 0;
  while (sent < c->out_len) {
    ssize_t n = send(c->fd, c->out + sent, c->out_len - sent, MSG_NOSIGNAL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n < 0) fail("send");
    sent += (size_t)n;
  }
  memmove(c->out, c->out + sent, c->out_len - sent);
  c->out_len -= sent;
}

static void put_set(struct conn *c, uint64_t key) {
  char head[160];
  int n = opt.seconds ? snprintf(head, sizeof head, "*5\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%zu\r\n", (unsigned long long)key, opt.value_bytes)
                      : snprintf(head, sizeof head, "*3\r\n$3\r\nSET\r\n$16\r\nkey:%012llu\r\n$%zu\r\n", (unsigned long long)key, opt.value_bytes);
  conn_put(c, head, (size_t)n);
  conn_put(c, value, opt.value_bytes);
  if (opt.seconds) {
    char digits[24], tail[64];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)opt.seconds);
    n = snprintf(tail, sizeof tail, "\r\n$2\r\nEX\r\n$%d\r\n%s\r\n", len, digits);
    conn_put(c, tail, (size_t)n);
  } else {
    conn_put(c, "\r\n", 2);
  }
}

static void put_get(struct conn *c, uint64_t key) {
  char head[64];
  int n = snprintf(head, sizeof head, "*2\r\n$3\r\nGET\r\n$16\r\nkey:%012llu\r\n", (unsigned long long)key);
  conn_put(c, head, (size_t)n);
}

static void conn_answered(struct conn *c) {
  if (c->due_len == 0) {
    fprintf(stderr, "loadgen: a reply without a request: %s\n", c->line);
    exit(1);
  }
  uint64_t due = c->due[c->due_head];
  c->due_head = (c->due_head + 1) % c->due_cap;
  c->due_len--;
  if (opt.fill) {
    all.count++;
    return;
  }
  uint64_t now = now_ns(), ns = now > due ? now - due : 0;
  note(&all, ns);
  note(due & 1 ? &writes : &reads, ns);
}

static void conn_parse(struct conn *c, const char *p, size_t n) {
  while (n > 0) {
    if (c->skip > 0) {
      size_t take = n < c->skip ? n : c->skip;
      p += take;
      n -= take;
      c->skip -= take;
      if (c->skip == 0) conn_answered(c);
      continue;
    }
    char b = *p++;
    n--;
    if (c->line_len < sizeof c->line - 1) c->line[c->line_len++] = b;
    if (b != '\n') continue;
    c->line[c->line_len] = 0;
    c->line_len = 0;
    if (c->line[0] == '$' && c->line[1] != '-') {
      c->skip = strtoull(c->line + 1, NULL, 10) + 2;
      continue;
    }
    if (c->line[0] == '-' && errors++ == 0) fprintf(stderr, "loadgen: %s", c->line);
    conn_answered(c);
  }
}

static void conn_receive(struct conn *c) {
  static char in[IN_BYTES];
  for (;;) {
    ssize_t n = recv(c->fd, in, sizeof in, 0);
    if (n == 0) {
      fprintf(stderr, "loadgen: the server closed the connection\n");
      exit(1);
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n < 0) fail("recv");
    conn_parse(c, in, (size_t)n);
    if (n < (ssize_t)sizeof in) return;
  }
}

/* The next connection in turn that may carry the request. */
static struct conn *take_turn(struct conn *conns, bool set) {
  static int at[2];
  for (;;) {
    struct conn *c = &conns[at[set]];
    at[set] = (at[set] + 1) % opt.conns;
    if (!opt.split || c->writer == set) return c;
  }
}

static void send_due(struct conn *conns, uint64_t *issued, uint64_t start, uint64_t now) {
  while (*issued < opt.requests) {
    uint64_t due = start + (uint64_t)((double)*issued * 1e9 / opt.rate);
    if (due > now) break;
    bool set = (int)(random_next() % 100) < opt.write_percent;
    uint64_t key = random_next() % opt.keys;
    struct conn *c = take_turn(conns, set);
    if (set) put_set(c, key);
    else put_get(c, key);
    conn_expect(c, due, set);
    (*issued)++;
  }
}

static void send_fill(struct conn *conns, uint64_t *issued) {
  for (int i = 0; i < opt.conns; i++) {
    struct conn *c = &conns[i];
    while (*issued < opt.requests && c->due_len < 512) {
      put_set(c, (*issued)++);
      conn_expect(c, 0, true);
    }
  }
}

static void run(struct conn *conns) {
  int ep = epoll_create1(EPOLL_CLOEXEC);
  if (ep < 0) fail("epoll_create1");
  for (int i = 0; i < opt.conns; i++) {
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = &conns[i]};
    conn_open(&conns[i]);
    if (epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &e) != 0) fail("epoll_ctl");
  }
  uint64_t start = now_ns() + 1000000, issued = 0;
  while (all.count < opt.requests) {
    uint64_t now = now_ns();
    if (opt.fill) send_fill(conns, &issued);
    else send_due(conns, &issued, start, now);
    for (int i = 0; i < opt.conns; i++)
      if (conns[i].out_len > 0) conn_flush(&conns[i]);
    struct timespec wait = {.tv_sec = 1};
    if (!opt.fill && issued < opt.requests) {
      uint64_t due = start + (uint64_t)((double)issued * 1e9 / opt.rate);
      now = now_ns();
      uint64_t left = due > now ? due - now : 0;
      wait = (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
    }
    struct epoll_event ready[64];
    int n = epoll_pwait2(ep, ready, 64, &wait, NULL);
    if (n < 0 && errno != EINTR) fail("epoll_pwait2");
    for (int i = 0; i < n; i++)
      if (ready[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) conn_receive(ready[i].data.ptr);
  }
  double seconds = (double)(now_ns() - start) / 1e9;
  printf("{\"seconds\": %.3f, \"rate\": %.0f, \"errors\": %llu, ", seconds, (double)opt.requests / seconds, (unsigned long long)errors);
  print_histogram("all", &all, ", ");
  print_histogram("get", &reads, ", ");
  print_histogram("set", &writes, "}\n");
}

int main(int argc, char **argv) {
  for (int o; (o = getopt(argc, argv, "p:c:r:n:k:d:w:e:xF")) != -1;) {
    switch (o) {
      case 'p': opt.port = atoi(optarg); break;
      case 'c': opt.conns = atoi(optarg); break;
      case 'r': opt.rate = atof(optarg); break;
      case 'n': opt.requests = strtoull(optarg, NULL, 10); break;
      case 'k': opt.keys = strtoull(optarg, NULL, 10); break;
      case 'd': opt.value_bytes = strtoull(optarg, NULL, 10); break;
      case 'w': opt.write_percent = atoi(optarg); break;
      case 'e': opt.seconds = strtoull(optarg, NULL, 10); break;
      case 'x': opt.split = true; break;
      case 'F': opt.fill = true; break;
      default: fprintf(stderr, "usage: see the head of loadgen.c\n"); return 2;
    }
  }
  if (opt.port <= 0 || opt.conns <= 0 || opt.rate <= 0 || opt.keys == 0) {
    fprintf(stderr, "loadgen: -p, -c, -r and -k must be positive\n");
    return 2;
  }
  value = malloc(opt.value_bytes + 1);
  struct conn *conns = calloc((size_t)opt.conns, sizeof *conns);
  if (!value || !conns) fail("memory");
  for (size_t i = 0; i < opt.value_bytes; i++) value[i] = (char)('a' + random_next() % 26);
  int writers = (opt.conns * opt.write_percent + 99) / 100;
  for (int i = 0; i < opt.conns; i++) conns[i].writer = i < writers;
  if (opt.split && (writers == 0 || writers == opt.conns) && opt.write_percent % 100 != 0) {
    fprintf(stderr, "loadgen: -x needs connections of both kinds\n");
    return 2;
  }
  /* The timer's default slack of 50 µs would be in every latency. */
  prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  run(conns);
  return errors > 0;
}
