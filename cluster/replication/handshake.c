#include "config.h"

#include "cluster/replication/handshake.h"

#include <stdio.h>
#include <string.h>

#include "server/base/num.h"
#include "server/proto/resp.h"

/* The stream behind an offset has room for ever after: 4 EiB. */
#define OFFSET_MAX ((uint64_t)INT64_MAX / 2)

static void send_words(struct buf *out, const char *const *words, int n) {
    struct slice argv[12];
    for (int i = 0; i < n; i++)
        argv[i] = slice_cstr(words[i]);
    resp_append_command(out, argv, n);
}

static void send_psync(struct handshake *h, struct buf *out) {
    char offset[NUM_I64_CHARS + 1];
    size_t n = num_format_u64(offset, h->options.offset + 1);
    offset[n] = '\0';
    bool known = h->options.id != NULL;
    const char *words[] = {"PSYNC", known ? h->options.id : "?", known ? offset : "-1", "FAILOVER"};
    send_words(out, words, h->options.failover ? 4 : 3);
}

void handshake_begin(struct handshake *h, const struct handshake_options *options, struct buf *out) {
    memset(h, 0, sizeof *h);
    h->options = *options;
    h->step = HANDSHAKE_PONG;
    const char *words[] = {"PING"};
    send_words(out, words, 1);
}

/* Everything between PING and PSYNC at once. */
static void send_introduction(struct handshake *h, struct buf *out) {
    const struct handshake_options *o = &h->options;
    char port[NUM_I64_CHARS + 1];
    if (o->password[0] != '\0') {
        const char *with_user[] = {"AUTH", o->user, o->password};
        const char *without[] = {"AUTH", o->password};
        send_words(out, o->user[0] != '\0' ? with_user : without, o->user[0] != '\0' ? 3 : 2);
    }
    port[num_format_u64(port, (uint64_t)o->port)] = '\0';
    const char *words[] = {"REPLCONF", "listening-port", port};
    send_words(out, words, 3);
    if (o->announce_ip[0] != '\0') {
        const char *ip[] = {"REPLCONF", "ip-address", o->announce_ip};
        send_words(out, ip, 3);
    }
    /* "holdfast": what only our nodes understand may be sent. Others read over a word that they do not know. */
    const char *capa[] = {"REPLCONF",        "capa", "eof",         "capa", "psync2", "capa", "holdfast", "capa",
                          "holdfast-frames", "capa", "holdfast-lz4"};
    send_words(out, capa, 11);
}

static enum handshake_outcome end(struct handshake *h, enum handshake_outcome outcome, const char *what,
                                  struct slice line) {
    snprintf(h->reason, sizeof h->reason, "%s'%.*s'", what, (int)(line.n > 140 ? 140 : line.n), line.p);
    return outcome;
}

static bool begins(struct slice line, const char *with) {
    size_t n = strlen(with);
    return line.n >= n && memcmp(line.p, with, n) == 0;
}

/* The word behind the first `skip` bytes; `line` moves behind it and the blank. */
static struct slice next_word(struct slice *line) {
    const char *blank = memchr(line->p, ' ', line->n);
    size_t n = blank == NULL ? line->n : (size_t)(blank - line->p);
    struct slice word = slice_of(line->p, n);
    size_t skip = blank == NULL ? n : n + 1;
    *line = slice_of(line->p + skip, line->n - skip);
    return word;
}

static bool take_id(struct handshake *h, struct slice word) {
    if (word.n != CHANGELOG_ID_CHARS)
        return false;
    for (size_t i = 0; i < word.n; i++)
        if ((word.p[i] < '0' || word.p[i] > '9') && (word.p[i] < 'a' || word.p[i] > 'f'))
            return false;
    memcpy(h->id, word.p, word.n);
    h->id[word.n] = '\0';
    return true;
}

static enum handshake_outcome take_psync(struct handshake *h, struct slice line, struct buf *out) {
    struct slice rest = line;
    if (begins(line, "+FULLRESYNC ")) {
        (void)next_word(&rest);
        struct slice id = next_word(&rest), offset = next_word(&rest);
        if (!take_id(h, id) || num_parse_u64(offset, &h->offset) != 0 || h->offset > OFFSET_MAX || rest.n > 0)
            return end(h, HANDSHAKE_FAILED, "the primary replied with a wrong FULLRESYNC: ", line);
        return HANDSHAKE_FULL;
    }
    if (begins(line, "+CONTINUE")) {
        (void)next_word(&rest);
        struct slice id = next_word(&rest);
        if ((id.n > 0 && !take_id(h, id)) || h->options.id == NULL)
            return end(h, HANDSHAKE_FAILED, "the primary replied with a wrong CONTINUE: ", line);
        return HANDSHAKE_CONTINUE;
    }
    h->primary_is_empty = begins(line, "-" HANDSHAKE_EMPTY_PRIMARY);
    if (begins(line, "-NOMASTERLINK") || begins(line, "-LOADING"))
        return end(h, HANDSHAKE_LATER, "the primary cannot synchronise now: ", line);
    if (begins(line, "-ERR unknown command")) {
        const char *words[] = {"SYNC"};
        send_words(out, words, 1);
        return HANDSHAKE_OLD;
    }
    return end(h, line.n > 0 && line.p[0] == '-' ? HANDSHAKE_LATER : HANDSHAKE_FAILED,
               "the primary answered PSYNC with ", line);
}

static enum handshake_outcome take_pong(struct handshake *h, struct slice line, struct buf *out) {
    bool ok = line.p[0] == '+' || begins(line, "-NOAUTH") || begins(line, "-NOPERM") ||
              begins(line, "-ERR operation not permitted");
    if (!ok)
        return end(h, HANDSHAKE_FAILED, "the primary answered PING with ", line);
    send_introduction(h, out);
    h->step = h->options.password[0] != '\0' ? HANDSHAKE_AUTH : HANDSHAKE_PORT;
    return HANDSHAKE_GOES_ON;
}

enum handshake_outcome handshake_line(struct handshake *h, struct slice line, struct buf *out) {
    if (line.n == 0)
        return HANDSHAKE_GOES_ON;
    if (line.p[0] != '+' && line.p[0] != '-')
        return end(h, HANDSHAKE_FAILED, "the primary does not speak the protocol: ", line);
    switch (h->step) {
    case HANDSHAKE_PONG:
        return take_pong(h, line, out);
    case HANDSHAKE_AUTH:
        if (line.p[0] == '-')
            return end(h, HANDSHAKE_FAILED, "unable to authenticate to the primary: ", line);
        h->step = HANDSHAKE_PORT;
        return HANDSHAKE_GOES_ON;
    case HANDSHAKE_PORT:
        h->step = h->options.announce_ip[0] != '\0' ? HANDSHAKE_IP : HANDSHAKE_CAPA;
        return HANDSHAKE_GOES_ON;
    case HANDSHAKE_IP:
        h->step = HANDSHAKE_CAPA;
        return HANDSHAKE_GOES_ON;
    case HANDSHAKE_CAPA:
        h->step = HANDSHAKE_PSYNC;
        send_psync(h, out);
        return HANDSHAKE_GOES_ON;
    case HANDSHAKE_PSYNC:
        return take_psync(h, line, out);
    }
    return HANDSHAKE_FAILED;
}
