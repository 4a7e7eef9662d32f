#include "config.h"

#include "server/net/conn.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/mem.h"
#include "server/net/conn_int.h"

/* The peer's address is kept, because the kernel no longer tells it when the peer is gone, and CLIENT LIST and the log
 * still want it. A Unix peer has no name of its own: it is shown by the path it connected to. */

struct conn {
    struct loop *loop;
    int fd;
    enum conn_kind kind;
    union {
        sa_family_t family; /* AF_UNSPEC: not known */
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } peer;
};

static void set_peer(struct conn *c, const union conn_address *a, socklen_t bytes) {
    if (a->any.sa_family == AF_INET && bytes >= sizeof a->in)
        c->peer.in = a->in;
    else if (a->any.sa_family == AF_INET6 && bytes >= sizeof a->in6)
        c->peer.in6 = a->in6;
}

struct conn *conn_wrap(struct loop *loop, int fd, enum conn_kind kind, const union conn_address *peer,
                       socklen_t peer_bytes) {
    struct conn *c = mem_calloc(1, sizeof *c);
    c->loop = loop;
    c->fd = fd;
    c->kind = kind;
    if (peer != NULL)
        set_peer(c, peer, peer_bytes);
    return c;
}

struct conn *conn_create(struct loop *loop, int fd, enum conn_kind kind) {
    int status = fcntl(fd, F_GETFL);
    HF_ASSERT(status >= 0);
    (void)fcntl(fd, F_SETFL, status | O_NONBLOCK);
    (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    union conn_address peer = {.any.sa_family = AF_UNSPEC};
    socklen_t bytes = sizeof peer;
    if (getpeername(fd, &peer.any, &bytes) != 0)
        peer.any.sa_family = AF_UNSPEC;
    return conn_wrap(loop, fd, kind, &peer, bytes);
}

void conn_destroy(struct conn *c) {
    if (c == NULL)
        return;
    loop_forget(c->loop, c->fd);
    (void)shutdown(c->fd, SHUT_RDWR); /* a forked child may hold it open: the peer is to learn of the end now */
    close(c->fd);
    mem_free_sized(c, sizeof *c);
}

int conn_fd(const struct conn *c) {
    return c->fd;
}

enum conn_kind conn_kind(const struct conn *c) {
    return c->kind;
}

ssize_t conn_read(struct conn *c, void *p, size_t n) {
    ssize_t got;
    do
        got = recv(c->fd, p, n, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

ssize_t conn_writev(struct conn *c, const struct iovec *iov, int iovcnt) {
    ssize_t put;
    do {
        if (iovcnt == 1) {
            put = send(c->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)iovcnt};
            put = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        }
    } while (put < 0 && errno == EINTR);
    return put < 0 ? -errno : put;
}

int conn_watch(struct conn *c, unsigned events, loop_fd_fn *fn, void *arg) {
    return loop_watch(c->loop, c->fd, events, fn, arg);
}

void conn_shutdown(struct conn *c) {
    (void)shutdown(c->fd, SHUT_WR);
}

static int set_option(const struct conn *c, int level, int option, int value) {
    return setsockopt(c->fd, level, option, &value, sizeof value) == 0 ? 0 : -errno;
}

int conn_set_nodelay(struct conn *c, bool on) {
    return c->kind == CONN_TCP ? set_option(c, IPPROTO_TCP, TCP_NODELAY, on) : 0;
}

int conn_set_keepalive(struct conn *c, int idle_s) {
    if (c->kind != CONN_TCP)
        return 0;
    if (idle_s <= 0)
        return set_option(c, SOL_SOCKET, SO_KEEPALIVE, 0);
    /* Three probes at a third of the idle time: a dead peer is known after twice the idle time. The kernel takes at
     * most 32767. */
    int bounded_s = idle_s > 32767 ? 32767 : idle_s;
    int interval_s = bounded_s / 3 > 0 ? bounded_s / 3 : 1;
    int rc = set_option(c, SOL_SOCKET, SO_KEEPALIVE, 1);
    if (rc == 0)
        rc = set_option(c, IPPROTO_TCP, TCP_KEEPIDLE, bounded_s);
    if (rc == 0)
        rc = set_option(c, IPPROTO_TCP, TCP_KEEPINTVL, interval_s);
    if (rc == 0)
        rc = set_option(c, IPPROTO_TCP, TCP_KEEPCNT, 3);
    return rc;
}

/* ---- addresses ---- */

static void format_inet(const union conn_address *a, char dst[CONN_ADDR_CHARS]) {
    char ip[INET6_ADDRSTRLEN] = "?";
    if (a->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->in.sin_addr, ip, sizeof ip);
        snprintf(dst, CONN_ADDR_CHARS, "%s:%u", ip, (unsigned)ntohs(a->in.sin_port));
    } else if (a->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->in6.sin6_addr, ip, sizeof ip);
        snprintf(dst, CONN_ADDR_CHARS, "[%s]:%u", ip, (unsigned)ntohs(a->in6.sin6_port));
    } else {
        snprintf(dst, CONN_ADDR_CHARS, "?:0");
    }
}

/* False when the socket has no path at this end. */
static bool format_unix(const union conn_address *a, socklen_t bytes, char dst[CONN_ADDR_CHARS]) {
    size_t header = offsetof(struct sockaddr_un, sun_path);
    if (a->any.sa_family != AF_UNIX || bytes <= header || a->un.sun_path[0] == '\0')
        return false;
    size_t n = strnlen(a->un.sun_path, bytes - header);
    snprintf(dst, CONN_ADDR_CHARS, "%.*s:0", (int)n, a->un.sun_path);
    return true;
}

static void format_unix_conn(const struct conn *c, bool peer_first, char dst[CONN_ADDR_CHARS]) {
    for (int i = 0; i < 2; i++) {
        union conn_address a = {.any.sa_family = AF_UNSPEC};
        socklen_t bytes = sizeof a;
        bool peer = (i == 0) == peer_first;
        int rc = peer ? getpeername(c->fd, &a.any, &bytes) : getsockname(c->fd, &a.any, &bytes);
        if (rc == 0 && format_unix(&a, bytes, dst))
            return;
    }
    snprintf(dst, CONN_ADDR_CHARS, "?:0");
}

void conn_peer_addr(const struct conn *c, char dst[CONN_ADDR_CHARS]) {
    if (c->kind == CONN_UNIX) {
        format_unix_conn(c, true, dst);
        return;
    }
    union conn_address a = {.any.sa_family = AF_UNSPEC};
    if (c->peer.family == AF_INET)
        a.in = c->peer.in;
    else if (c->peer.family == AF_INET6)
        a.in6 = c->peer.in6;
    format_inet(&a, dst);
}

void conn_local_addr(const struct conn *c, char dst[CONN_ADDR_CHARS]) {
    if (c->kind == CONN_UNIX) {
        format_unix_conn(c, false, dst);
        return;
    }
    union conn_address a = {.any.sa_family = AF_UNSPEC};
    socklen_t bytes = sizeof a;
    if (getsockname(c->fd, &a.any, &bytes) != 0)
        a.any.sa_family = AF_UNSPEC;
    format_inet(&a, dst);
}

bool conn_is_local(const struct conn *c) {
    if (c->kind == CONN_UNIX)
        return true;
    if (c->peer.family == AF_INET)
        return ntohl(c->peer.in.sin_addr.s_addr) >> 24 == 127;
    if (c->peer.family != AF_INET6)
        return false;
    const struct in6_addr *ip = &c->peer.in6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(ip) || (IN6_IS_ADDR_V4MAPPED(ip) && ip->s6_addr[12] == 127);
}

bool conn_is_ipv6(const struct conn *c) {
    return c->peer.family == AF_INET6;
}

int conn_errno(const struct conn *c) {
    int error = 0;
    socklen_t bytes = sizeof error;
    return getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &bytes) == 0 ? error : errno;
}

/* ---- outgoing ---- */

static int gai_errno(int gai) {
    switch (gai) {
    case EAI_SYSTEM:
        return errno != 0 ? -errno : -EIO;
    case EAI_MEMORY:
        return -ENOMEM;
    case EAI_AGAIN:
        return -EAGAIN;
    case EAI_FAMILY:
    case EAI_ADDRFAMILY:
        return -EAFNOSUPPORT;
    default:
        return -EADDRNOTAVAIL;
    }
}

/* Binds fd to source_addr where that has an address of the family. 0 or -errno. */
static int bind_source(int fd, const char *source_addr, int family) {
    struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM}, *found;
    int gai = getaddrinfo(source_addr, NULL, &hints, &found);
    if (gai != 0)
        return gai_errno(gai);
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    int rc = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = found; a != NULL && rc != 0; a = a->ai_next)
        rc = bind(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : -errno;
    freeaddrinfo(found);
    return rc;
}

static int start_connect(struct loop *loop, const struct addrinfo *a, const char *source_addr, struct conn **ret_conn) {
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = source_addr != NULL && source_addr[0] != '\0' ? bind_source(fd, source_addr, a->ai_family) : 0;
    if (rc == 0 && connect(fd, a->ai_addr, a->ai_addrlen) != 0 && errno != EINPROGRESS)
        rc = -errno;
    if (rc != 0) {
        close(fd);
        return rc;
    }
    union conn_address peer = {.any.sa_family = AF_UNSPEC};
    if (a->ai_addrlen <= sizeof peer)
        memcpy(&peer, a->ai_addr, a->ai_addrlen);
    *ret_conn = conn_wrap(loop, fd, CONN_TCP, &peer, a->ai_addrlen);
    return 0;
}

int conn_connect(struct loop *loop, const char *host, int port, const char *source_addr, struct conn **ret_conn) {
    if (port < 1 || port > 65535)
        return -EINVAL;
    char service[8];
    snprintf(service, sizeof service, "%d", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found;
    int gai = getaddrinfo(host, service, &hints, &found);
    if (gai != 0)
        return gai_errno(gai);
    int rc = -EADDRNOTAVAIL;
    for (const struct addrinfo *a = found; a != NULL && rc != 0; a = a->ai_next)
        rc = start_connect(loop, a, source_addr, ret_conn);
    freeaddrinfo(found);
    return rc;
}

int conn_connect_unix(struct loop *loop, const char *path, struct conn **ret_conn) {
    union conn_address a = {.un.sun_family = AF_UNIX};
    size_t n = strlen(path);
    if (n >= sizeof a.un.sun_path)
        return -ENAMETOOLONG;
    memcpy(a.un.sun_path, path, n + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &a.any, sizeof a.un) != 0) {
        int rc = -errno;
        close(fd);
        return rc;
    }
    *ret_conn = conn_wrap(loop, fd, CONN_UNIX, NULL, 0);
    return 0;
}
