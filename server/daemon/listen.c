#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "server/base/logging.h"
#include "server/daemon/node.h"

/* Listening sockets. An address of `bind` with a '-' before it may be absent on this machine. */

static void on_accept(struct listener *l, struct conn *c, void *arg) {
    (void)l;
    struct node *n = arg;
    engine_accept(n->engine, c);
}

static int add_listener(struct node *n, const struct listener_options *o, struct buf *error) {
    if (n->listener_count == NODE_LISTENERS_MAX) {
        buf_append_cstr(error, "too many addresses to listen on");
        return -EINVAL;
    }
    int rc = listener_create(n->loop, o, on_accept, n, &n->listeners[n->listener_count], error);
    if (rc == 0)
        n->listener_count++;
    return rc;
}

static bool may_be_absent(int rc) {
    return rc == -EADDRNOTAVAIL || rc == -EAFNOSUPPORT || rc == -EPROTONOSUPPORT || rc == -ENOPROTOOPT ||
           rc == -ESOCKTNOSUPPORT;
}

static int listen_tcp(struct node *n, struct buf *error) {
    for (int i = 0; i < n->options.bind_count; i++) {
        const char *address = n->options.binds[i];
        bool optional = address[0] == '-';
        if (optional)
            address++;
        struct listener_options o = {
            .address = address,
            .port = (int)n->options.port,
            .kind = CONN_TCP,
            .backlog = (int)n->options.tcp_backlog,
            .mark = (uint32_t)n->options.socket_mark_id,
            .accepts_per_cycle = (unsigned)n->options.accepts_per_cycle,
        };
        struct buf why = BUF_INIT;
        int rc = add_listener(n, &o, &why);
        if (rc < 0 && !(optional && may_be_absent(rc))) {
            buf_append_slice(error, buf_slice(&why));
            buf_deinit(&why);
            return rc;
        }
        buf_deinit(&why);
    }
    return 0;
}

int node_listen(struct node *n, struct buf *error) {
    int rc = n->options.port != 0 ? listen_tcp(n, error) : 0;
    if (rc < 0)
        return rc;
    if (n->options.unixsocket[0] != '\0') {
        struct listener_options o = {
            .address = n->options.unixsocket,
            .kind = CONN_UNIX,
            .backlog = (int)n->options.tcp_backlog,
            .unix_mode = (unsigned)n->options.unixsocketperm,
            .unix_group = n->options.unixsocketgroup[0] ? n->options.unixsocketgroup : NULL,
            .accepts_per_cycle = (unsigned)n->options.accepts_per_cycle,
        };
        rc = add_listener(n, &o, error);
        if (rc < 0)
            return rc;
    }
    if (n->listener_count == 0) {
        buf_append_cstr(error, "Configured to not listen anywhere, exiting.");
        return -EINVAL;
    }
    return 0;
}

void node_close_listeners(struct node *n) {
    while (n->listener_count > 0)
        listener_destroy(n->listeners[--n->listener_count]);
}

void node_in_child(void *ctx) {
    const struct node *n = ctx;
    for (int i = 0; i < n->listener_count; i++)
        close(listener_fd(n->listeners[i]));
}

/* CONFIG SET bind or port: the old sockets are given back first, for the new ones may overlap them; on failure the
 * settings layer puts the old values back and comes here again. */
int node_relisten(struct node *n, struct buf *error) {
    node_close_listeners(n);
    return node_listen(n, error);
}
