/* Shared by connections and listeners: socket addresses and their text. */
#ifndef HF_NET_CONN_INT_H
#define HF_NET_CONN_INT_H

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "server/net/conn.h"

union conn_address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* Takes over a descriptor that is non-blocking and close-on-exec already. */
struct conn *conn_wrap(struct loop *loop, int fd, enum conn_kind kind, const union conn_address *peer,
                       socklen_t peer_bytes);

#endif
