/* Stream connections and listeners: TCP over IPv4 and IPv6, Unix sockets (TLS joins behind the same calls).
 *
 * Ownership: a struct conn belongs to its user, who destroys it. Descriptors are non-blocking and close-on-exec.
 * Thread: conn_read() and conn_writev() from one thread at a time (an I/O thread while the owner waits); everything
 * else from the loop's thread.
 */
#ifndef HF_NET_CONN_H
#define HF_NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "server/base/buf.h"
#include "server/net/loop.h"

struct conn;
struct listener;

#define CONN_ADDR_CHARS 128

enum conn_kind { CONN_TCP, CONN_UNIX };

/* Takes over a connected descriptor. */
struct conn *conn_create(struct loop *loop, int fd, enum conn_kind kind);
void conn_destroy(struct conn *c); /* forgets and closes; NULL is fine */
int conn_fd(const struct conn *c);
enum conn_kind conn_kind(const struct conn *c);
/* Bytes read (> 0), 0 at end of stream, -EAGAIN, or another -errno. */
ssize_t conn_read(struct conn *c, void *p, size_t n);
/* Bytes written (≥ 0), -EAGAIN, or another -errno (-EPIPE and -ECONNRESET: peer gone). Never raises SIGPIPE. */
ssize_t conn_writev(struct conn *c, const struct iovec *iov, int iovcnt);
/* As loop_watch() for this connection. */
int conn_watch(struct conn *c, unsigned events, loop_fd_fn *fn, void *arg) __attribute__((warn_unused_result));
/* Half-closes for writing. */
void conn_shutdown(struct conn *c);
/* TCP_NODELAY; keepalive with the idle time in seconds (0 = off). No-ops on Unix sockets. 0 or -errno. */
int conn_set_nodelay(struct conn *c, bool on);
int conn_set_keepalive(struct conn *c, int idle_s);
/* Text of the address: "127.0.0.1:1234", "[::1]:1234", "/path/of/socket:0". */
void conn_peer_addr(const struct conn *c, char dst[CONN_ADDR_CHARS]);
void conn_local_addr(const struct conn *c, char dst[CONN_ADDR_CHARS]);
/* True for Unix sockets and loopback peers (protected mode lets them in). */
bool conn_is_local(const struct conn *c);
bool conn_is_ipv6(const struct conn *c);
int conn_errno(const struct conn *c); /* SO_ERROR */

/* Called for each accepted connection, which it takes over. */
typedef void listener_accept_fn(struct listener *l, struct conn *c, void *arg);

struct listener_options {
    const char *address; /* numeric or a name; "*" = 0.0.0.0, "::*" = [::]; for Unix sockets the path */
    int port;            /* TCP: 1..65535 (0 asks the kernel for one) */
    enum conn_kind kind;
    int backlog;                /* tcp-backlog; 0 = the system's bound */
    unsigned unix_mode;         /* unixsocketperm, 0 = umask */
    const char *unix_group;     /* unixsocketgroup or NULL */
    uint32_t mark;              /* SO_MARK, 0 = none */
    unsigned accepts_per_cycle; /* max-new-connections-per-cycle; 0 = 10 */
};

/* Binds and listens; starts accepting. 0, or -errno with the reason appended to *error. Strings are copied. IPV6_V6ONLY
 * is set. A Unix socket's file that nobody listens on is replaced; one in use is -EADDRINUSE, a file that is no socket
 * -EEXIST. The accept function may destroy the listener. Without free descriptors accepting pauses for 0.1 s. */
int listener_create(struct loop *loop, const struct listener_options *options, listener_accept_fn *fn, void *arg,
                    struct listener **ret_listener, struct buf *error) __attribute__((warn_unused_result));
void listener_destroy(struct listener *l); /* closes; removes the Unix socket's file */
void listener_set_accepts_per_cycle(struct listener *l, unsigned n);
int listener_port(const struct listener *l);
/* The listening descriptor: for a forked child to close. */
int listener_fd(const struct listener *l);

/* Starts a non-blocking connect (replication, migration, bus). host is numeric or a name (looked up here: that may
 * block); source_addr may be NULL. 0 or -errno. Completion shows as writable; then conn_errno(). */
int conn_connect(struct loop *loop, const char *host, int port, const char *source_addr, struct conn **ret_conn)
    __attribute__((warn_unused_result));
/* As above, to a Unix socket; done when it returns. */
int conn_connect_unix(struct loop *loop, const char *path, struct conn **ret_conn) __attribute__((warn_unused_result));

#endif
