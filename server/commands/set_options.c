#include "config.h"

#include "server/commands/set_options.h"

#include "server/base/assert.h"
#include "server/base/hash.h"

enum expiry_word { EXPIRY_NONE, EXPIRY_EX, EXPIRY_PX, EXPIRY_EXAT, EXPIRY_PXAT, EXPIRY_KEEPTTL, EXPIRY_PERSIST };

static enum expiry_word expiry_word(struct slice word) {
    static const struct {
        const char *word;
        enum expiry_word which;
    } words[] = {
        {"ex", EXPIRY_EX},     {"px", EXPIRY_PX},           {"exat", EXPIRY_EXAT},
        {"pxat", EXPIRY_PXAT}, {"keepttl", EXPIRY_KEEPTTL}, {"persist", EXPIRY_PERSIST},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (slice_is(word, words[i].word))
            return words[i].which;
    return EXPIRY_NONE;
}

static bool expiry_allowed(enum expiry_word which, enum set_grammar grammar) {
    if (grammar == SET_GRAMMAR_DELEX)
        return false;
    if (which == EXPIRY_KEEPTTL)
        return grammar != SET_GRAMMAR_GETEX;
    if (which == EXPIRY_PERSIST)
        return grammar == SET_GRAMMAR_GETEX;
    return true;
}

static enum set_condition condition_word(struct slice word, enum set_grammar grammar) {
    static const struct {
        const char *word;
        enum set_condition which;
    } words[] = {
        {"nx", SET_NX},     {"xx", SET_XX},       {"ifeq", SET_IFEQ},
        {"ifne", SET_IFNE}, {"ifdeq", SET_IFDEQ}, {"ifdne", SET_IFDNE},
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (!slice_is(word, words[i].word))
            continue;
        bool compares = words[i].which >= SET_IFEQ;
        bool allowed = compares ? grammar == SET_GRAMMAR_SET || grammar == SET_GRAMMAR_DELEX
                                : grammar == SET_GRAMMAR_SET || grammar == SET_GRAMMAR_MSETEX;
        return allowed ? words[i].which : SET_ALWAYS;
    }
    return SET_ALWAYS;
}

int set_options_parse(const struct slice *argv, int argc, int from, enum set_grammar grammar,
                      struct set_options *ret_options) {
    struct set_options o = {.condition = SET_ALWAYS};
    enum expiry_word expiry = EXPIRY_NONE;
    for (int i = from; i < argc; i++) {
        if (grammar == SET_GRAMMAR_SET && slice_is(argv[i], "get")) {
            o.get = true;
            continue;
        }
        enum set_condition condition = condition_word(argv[i], grammar);
        if (condition != SET_ALWAYS) {
            if (o.condition != SET_ALWAYS && o.condition != condition)
                return -1;
            o.condition = condition;
            if (condition >= SET_IFEQ) {
                if (++i == argc)
                    return -1;
                o.operand = argv[i];
            }
            continue;
        }
        enum expiry_word which = expiry_word(argv[i]);
        if (which == EXPIRY_NONE || !expiry_allowed(which, grammar) || (expiry != EXPIRY_NONE && expiry != which))
            return -1;
        expiry = which;
        if (which == EXPIRY_KEEPTTL || which == EXPIRY_PERSIST)
            continue;
        if (++i == argc)
            return -1;
        o.time_arg = i;
    }
    o.keep_ttl = expiry == EXPIRY_KEEPTTL;
    o.persist = expiry == EXPIRY_PERSIST;
    o.unit_ms = expiry == EXPIRY_EX || expiry == EXPIRY_EXAT ? 1000 : 1;
    o.absolute = expiry == EXPIRY_EXAT || expiry == EXPIRY_PXAT;
    *ret_options = o;
    return 0;
}

int set_options_digest(struct slice operand, uint64_t *ret_digest) {
    if (operand.n != 16)
        return -1;
    uint64_t digest = 0;
    for (size_t i = 0; i < operand.n; i++) {
        unsigned char c = (unsigned char)operand.p[i];
        unsigned nibble;
        if (c >= '0' && c <= '9')
            nibble = c - '0';
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            nibble = (c | 0x20) - 'a' + 10u;
        else
            return -1;
        digest = digest << 4 | nibble;
    }
    *ret_digest = digest;
    return 0;
}

static bool digest_matches(struct slice operand, struct slice current) {
    uint64_t digest;
    if (set_options_digest(operand, &digest) < 0)
        HF_PANIC("unchecked digest operand");
    return hash_xxh3(current.p, current.n) == digest;
}

bool set_condition_met(const struct set_options *o, const struct slice *current) {
    switch (o->condition) {
    case SET_ALWAYS:
        return true;
    case SET_NX:
        return current == NULL;
    case SET_XX:
        return current != NULL;
    case SET_IFEQ:
        return current != NULL && slice_eq(*current, o->operand);
    case SET_IFNE:
        return current == NULL || !slice_eq(*current, o->operand);
    case SET_IFDEQ:
        return current != NULL && digest_matches(o->operand, *current);
    case SET_IFDNE:
        return current == NULL || !digest_matches(o->operand, *current);
    }
    HF_PANIC("condition %d", (int)o->condition);
}
