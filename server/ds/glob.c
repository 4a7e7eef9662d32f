#include "config.h"

#include "server/ds/glob.h"

/* Every element of a pattern but * matches exactly one byte, so only the last * seen ever needs to take more: when what
 * follows it fails, it takes one byte more and the match goes on behind it. An earlier * cannot help, as whatever it
 * could take the last one can take too. That bounds the work by pattern × text.
 *
 * The oddities are the field's: an unclosed [ ends with the pattern, the bounds of a range may be reversed, a range may
 * end at ], \ in a class takes the next byte literally, a lone \ at the end is itself, [] matches nothing and [^]
 * anything.
 */

static unsigned char fold(unsigned char c, bool ignore_case) {
    return ignore_case && c >= 'A' && c <= 'Z' ? (unsigned char)(c | 0x20) : c;
}

/* Matches c with the class whose first byte behind [ is at *inout_at, and moves behind its end. */
static bool match_class(struct slice pattern, size_t *inout_at, unsigned char c, bool ignore_case) {
    const unsigned char *p = (const unsigned char *)pattern.p;
    size_t at = *inout_at, n = pattern.n;
    bool negated = at < n && p[at] == '^', found = false;
    if (negated)
        at++;
    c = fold(c, ignore_case);
    while (at < n) {
        if (p[at] == '\\' && at + 1 < n) {
            found |= fold(p[at + 1], ignore_case) == c;
            at += 2;
        } else if (p[at] == ']') {
            at++;
            break;
        } else if (at + 2 < n && p[at + 1] == '-') {
            unsigned char lo = fold(p[at], ignore_case), hi = fold(p[at + 2], ignore_case);
            if (p[at] > p[at + 2]) {
                unsigned char t = lo;
                lo = hi;
                hi = t;
            }
            found |= c >= lo && c <= hi;
            at += 3;
        } else {
            found |= fold(p[at], ignore_case) == c;
            at++;
        }
    }
    *inout_at = at;
    return found != negated;
}

/* Matches c with the element at *inout_at, which is not a *, and moves behind it. */
static bool match_one(struct slice pattern, size_t *inout_at, unsigned char c, bool ignore_case) {
    unsigned char p = (unsigned char)pattern.p[(*inout_at)++];
    if (p == '?')
        return true;
    if (p == '[')
        return match_class(pattern, inout_at, c, ignore_case);
    if (p == '\\' && *inout_at < pattern.n)
        p = (unsigned char)pattern.p[(*inout_at)++];
    return fold(p, ignore_case) == fold(c, ignore_case);
}

bool glob_match(struct slice pattern, struct slice text, bool ignore_case) {
    size_t p = 0, t = 0;
    size_t star = 0, star_text = 0; /* behind the last *, and where the text behind it was tried last */
    bool starred = false;
    while (t < text.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            while (p < pattern.n && pattern.p[p] == '*')
                p++;
            if (p == pattern.n)
                return true;
            starred = true;
            star = p;
            star_text = t;
        } else if (p < pattern.n && match_one(pattern, &p, (unsigned char)text.p[t], ignore_case)) {
            t++;
        } else if (starred) {
            p = star;
            t = ++star_text;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}
