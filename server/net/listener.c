#include "config.h"

#include <errno.h>
#include <grp.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/base/assert.h"
#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/net/conn_int.h"

/* Accepting is bounded per cycle, so that a storm of connections does not starve the clients that are there; what is
 * left in the backlog shows again as readable. Where descriptors or memory have run out, the listener looks away for a
 * moment instead of spinning on a backlog that it cannot take: the connections wait there. */

#define PAUSE_MS 100
#define DEFAULT_ACCEPTS_PER_CYCLE 10

struct listener {
    struct loop *loop;
    int fd;
    enum conn_kind kind;
    int port;
    unsigned accepts_per_cycle;
    listener_accept_fn *fn;
    void *arg;
    uint64_t pause_timer; /* 0: accepting */
    bool accepting;       /* inside on_readable() */
    bool destroyed;       /* while accepting */
    char *path;           /* of a Unix socket; NULL for TCP */
    dev_t path_dev;       /* which file it is: another node may have replaced it */
    ino_t path_ino;
};

static void on_readable(struct loop *loop, int fd, unsigned events, void *arg);

static int64_t resume_accepting(struct loop *loop, uint64_t id, void *arg) {
    (void)id;
    struct listener *l = arg;
    l->pause_timer = 0;
    if (loop_watch(loop, l->fd, LOOP_READABLE, on_readable, l) == 0)
        return -1;
    return PAUSE_MS;
}

static void pause_accepting(struct listener *l, int error) {
    log_debug("Accepting connections pauses: %s", strerror(error));
    loop_forget(l->loop, l->fd);
    l->pause_timer = loop_timer_add(l->loop, PAUSE_MS, resume_accepting, l);
}

static bool is_shortage(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

static void on_readable(struct loop *loop, int fd, unsigned events, void *arg) {
    (void)events;
    struct listener *l = arg;
    l->accepting = true;
    for (unsigned i = 0; i < l->accepts_per_cycle && !l->destroyed; i++) {
        union conn_address peer = {.any.sa_family = AF_UNSPEC};
        socklen_t bytes = sizeof peer;
        int accepted = accept4(fd, &peer.any, &bytes, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (accepted >= 0) {
            l->fn(l, conn_wrap(loop, accepted, l->kind, &peer, bytes), l->arg);
            continue;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            break;
        if (is_shortage(errno)) {
            pause_accepting(l, errno);
            break;
        }
        /* The connection went away before it was taken, or the network reports an error of its own (accept(2)): the
         * next one. */
    }
    l->accepting = false;
    if (l->destroyed)
        mem_free(l);
}

/* ---- binding ---- */

static int report(struct buf *error, const char *what, const char *step, int rc) {
    buf_printf(error, "%s: %s: %s", what, step, strerror(-rc));
    return rc;
}

static int set_socket_options(int fd, const struct listener_options *o, int family, const char **ret_step) {
    int on = 1;
    *ret_step = "setsockopt SO_REUSEADDR";
    if (family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0)
        return -errno;
    *ret_step = "setsockopt IPV6_V6ONLY";
    if (family == AF_INET6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
        return -errno;
    *ret_step = "setsockopt SO_MARK";
    if (o->mark != 0 && family != AF_UNIX && setsockopt(fd, SOL_SOCKET, SO_MARK, &o->mark, sizeof o->mark) != 0)
        return -errno;
    return 0;
}

/* A socket of the family with its options, bound to a. The descriptor, or -errno with the step that failed. */
static int open_bound(const struct listener_options *o, const struct sockaddr *a, socklen_t bytes,
                      const char **ret_step) {
    *ret_step = "socket";
    int fd = socket(a->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int rc = set_socket_options(fd, o, a->sa_family, ret_step);
    if (rc == 0) {
        *ret_step = "bind";
        rc = bind(fd, a, bytes) == 0 ? 0 : -errno;
    }
    if (rc == 0)
        return fd;
    close(fd);
    return rc;
}

static int listen_on(int fd, int backlog, const char **ret_step) {
    *ret_step = "listen";
    return listen(fd, backlog > 0 ? backlog : SOMAXCONN) == 0 ? 0 : -errno;
}

/* The listening descriptor, or -errno with the reason in *error. */
static int open_tcp(const struct listener_options *o, struct buf *error) {
    char what[320];
    bool bare_ipv6 = strchr(o->address, ':') != NULL && o->address[0] != ':';
    snprintf(what, sizeof what,
             bare_ipv6 ? "Could not create server TCP listening socket [%s]:%d"
                       : "Could not create server TCP listening socket %s:%d",
             o->address, o->port);
    if (o->port < 0 || o->port > 65535)
        return report(error, what, "port", -EINVAL);
    const char *host = o->address;
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    if (strcmp(host, "*") == 0 || strcmp(host, "::*") == 0) {
        hints.ai_family = host[0] == '*' ? AF_INET : AF_INET6;
        host = NULL;
    }
    char service[8];
    snprintf(service, sizeof service, "%d", o->port);
    struct addrinfo *found;
    int gai = getaddrinfo(host, service, &hints, &found);
    if (gai != 0) {
        buf_printf(error, "%s: %s", what, gai_strerror(gai));
        return gai == EAI_FAMILY || gai == EAI_ADDRFAMILY ? -EAFNOSUPPORT : -EADDRNOTAVAIL;
    }
    int fd = -EADDRNOTAVAIL;
    const char *step = "bind";
    for (const struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next)
        fd = open_bound(o, a->ai_addr, a->ai_addrlen, &step);
    freeaddrinfo(found);
    if (fd < 0)
        return report(error, what, step, fd);
    int rc = listen_on(fd, o->backlog, &step);
    if (rc == 0)
        return fd;
    close(fd);
    return report(error, what, step, rc);
}

/* Removes the file that a node left behind. One that somebody listens on, and one that is no socket, stay: -EADDRINUSE,
 * -EEXIST. */
static int remove_stale_socket(const union conn_address *a) {
    struct stat st;
    if (lstat(a->un.sun_path, &st) != 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(st.st_mode))
        return -EEXIST;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    bool alive = connect(fd, &a->any, sizeof a->un) == 0 || errno == EAGAIN;
    close(fd);
    if (alive)
        return -EADDRINUSE;
    return unlink(a->un.sun_path) == 0 || errno == ENOENT ? 0 : -errno;
}

static int group_id(const char *name, gid_t *ret_gid) {
    char scratch[16384];
    struct group group, *found = NULL;
    int rc = getgrnam_r(name, &group, scratch, sizeof scratch, &found);
    if (found == NULL)
        return rc != 0 ? -rc : -ENOENT;
    *ret_gid = group.gr_gid;
    return 0;
}

/* Group and mode, before anybody can connect: listen() comes later. */
static int set_file_rights(const struct listener_options *o, const char **ret_step) {
    if (o->unix_group != NULL && o->unix_group[0] != '\0') {
        gid_t gid;
        *ret_step = "unixsocketgroup";
        int rc = group_id(o->unix_group, &gid);
        if (rc != 0)
            return rc;
        if (chown(o->address, (uid_t)-1, gid) != 0)
            return -errno;
    }
    *ret_step = "chmod";
    if (o->unix_mode != 0 && chmod(o->address, (mode_t)o->unix_mode) != 0)
        return -errno;
    return 0;
}

static int open_unix(const struct listener_options *o, struct buf *error) {
    char what[320];
    snprintf(what, sizeof what, "Could not create server Unix socket %s", o->address);
    union conn_address a = {.un.sun_family = AF_UNIX};
    size_t n = strlen(o->address);
    if (n == 0 || n >= sizeof a.un.sun_path)
        return report(error, what, "path", n == 0 ? -EINVAL : -ENAMETOOLONG);
    memcpy(a.un.sun_path, o->address, n + 1);
    int rc = remove_stale_socket(&a);
    if (rc != 0)
        return report(error, what, rc == -EEXIST ? "not a socket" : "bind", rc);
    const char *step;
    int fd = open_bound(o, &a.any, sizeof a.un, &step);
    if (fd < 0)
        return report(error, what, step, fd);
    rc = set_file_rights(o, &step);
    if (rc == 0)
        rc = listen_on(fd, o->backlog, &step);
    if (rc == 0)
        return fd;
    close(fd);
    (void)unlink(o->address);
    return report(error, what, step, rc);
}

static int bound_port(int fd) {
    union conn_address a = {.any.sa_family = AF_UNSPEC};
    socklen_t bytes = sizeof a;
    if (getsockname(fd, &a.any, &bytes) != 0)
        return 0;
    return ntohs(a.any.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}

int listener_create(struct loop *loop, const struct listener_options *options, listener_accept_fn *fn, void *arg,
                    struct listener **ret_listener, struct buf *error) {
    HF_ASSERT(fn != NULL && options->address != NULL);
    int fd = options->kind == CONN_UNIX ? open_unix(options, error) : open_tcp(options, error);
    if (fd < 0)
        return fd;
    struct listener *l = mem_calloc(1, sizeof *l);
    l->loop = loop;
    l->fd = fd;
    l->kind = options->kind;
    l->fn = fn;
    l->arg = arg;
    listener_set_accepts_per_cycle(l, options->accepts_per_cycle);
    if (l->kind == CONN_UNIX) {
        struct stat st;
        l->path = mem_strdup(options->address);
        if (lstat(l->path, &st) == 0) {
            l->path_dev = st.st_dev;
            l->path_ino = st.st_ino;
        }
    } else {
        l->port = bound_port(fd);
    }
    int rc = loop_watch(loop, fd, LOOP_READABLE, on_readable, l);
    if (rc != 0) {
        buf_printf(error, "Could not watch the listening socket: %s", strerror(-rc));
        listener_destroy(l);
        return rc;
    }
    *ret_listener = l;
    return 0;
}

void listener_destroy(struct listener *l) {
    if (l == NULL)
        return;
    if (l->pause_timer != 0)
        loop_timer_remove(l->loop, l->pause_timer);
    loop_forget(l->loop, l->fd);
    if (l->path != NULL) {
        struct stat st;
        if (lstat(l->path, &st) == 0 && st.st_dev == l->path_dev && st.st_ino == l->path_ino)
            (void)unlink(l->path);
        mem_free(l->path);
    }
    close(l->fd);
    if (l->accepting)
        l->destroyed = true;
    else
        mem_free(l);
}

void listener_set_accepts_per_cycle(struct listener *l, unsigned n) {
    l->accepts_per_cycle = n > 0 ? n : DEFAULT_ACCEPTS_PER_CYCLE;
}

int listener_port(const struct listener *l) {
    return l->port;
}

int listener_fd(const struct listener *l) {
    return l->fd;
}
