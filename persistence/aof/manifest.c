#include "config.h"

#include "persistence/aof/manifest.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/base/mem.h"
#include "server/base/num.h"

#define MANIFEST_MAX_BYTES (16 << 20)
#define LINE_MAX_BYTES 1024 /* what Redis reads */

void aof_manifest_init(struct aof_manifest *m) {
    *m = (struct aof_manifest){0};
}

void aof_manifest_deinit(struct aof_manifest *m) {
    for (size_t i = 0; i < m->count; i++)
        mem_free(m->entries[i].name);
    mem_free(m->entries);
    *m = (struct aof_manifest){0};
}

void aof_manifest_add(struct aof_manifest *m, const char *name, uint64_t seq, enum aof_file_type type) {
    if (m->count == m->cap) {
        m->cap = m->cap == 0 ? 4 : m->cap * 2;
        m->entries = mem_realloc(m->entries, m->cap * sizeof *m->entries);
    }
    m->entries[m->count++] = (struct aof_manifest_entry){.name = mem_strdup(name), .seq = seq, .type = type};
    /* A history file's number stays taken as long as the file may be there. */
    bool was_base = type == AOF_FILE_BASE || (type == AOF_FILE_HISTORY && strstr(name, ".base.") != NULL);
    uint64_t *max = was_base ? &m->max_base_seq : &m->max_incr_seq;
    if (seq > *max)
        *max = seq;
}

void aof_manifest_copy(struct aof_manifest *dst, const struct aof_manifest *src) {
    aof_manifest_init(dst);
    for (size_t i = 0; i < src->count; i++)
        aof_manifest_add(dst, src->entries[i].name, src->entries[i].seq, src->entries[i].type);
    dst->max_base_seq = src->max_base_seq;
    dst->max_incr_seq = src->max_incr_seq;
}

const struct aof_manifest_entry *aof_manifest_base(const struct aof_manifest *m) {
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].type == AOF_FILE_BASE)
            return &m->entries[i];
    return NULL;
}

const struct aof_manifest_entry *aof_manifest_incr(const struct aof_manifest *m, size_t n) {
    for (size_t i = 0; i < m->count; i++)
        if (m->entries[i].type == AOF_FILE_INCR && n-- == 0)
            return &m->entries[i];
    return NULL;
}

/* ---- parsing --------------------------------------------------------------------------------------------------- */

static int hex_digit(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* One word of the line, quoted or not, appended to *word. Returns 1 for a word, 0 at the end, -1 for bad quotes. */
static int next_word(const char **at, const char *end, struct buf *word) {
    const char *p = *at;
    while (p < end && (*p == ' ' || *p == '\t'))
        p++;
    if (p == end) {
        *at = p;
        return 0;
    }
    char quote = *p == '"' || *p == '\'' ? *p++ : '\0';
    for (;; p++) {
        if (p == end) {
            *at = p;
            return quote == '\0' ? 1 : -1;
        }
        if (quote == '\0' ? *p == ' ' || *p == '\t' : *p == quote)
            break;
        if (quote == '"' && *p == '\\' && end - p >= 4 && p[1] == 'x' && hex_digit(p[2]) >= 0 && hex_digit(p[3]) >= 0) {
            buf_append_char(word, (char)(hex_digit(p[2]) * 16 + hex_digit(p[3])));
            p += 3;
        } else if (quote != '\0' && *p == '\\' && end - p >= 2 && (quote == '"' || p[1] == '\'')) {
            static const char from[] = "nrtba", to[] = "\n\r\t\b\a";
            const char *escape = quote == '"' ? memchr(from, p[1], sizeof from - 1) : NULL;
            buf_append_char(word, escape != NULL ? to[escape - from] : p[1]);
            p++;
        } else {
            buf_append_char(word, *p);
        }
    }
    if (quote != '\0' && ++p < end && *p != ' ' && *p != '\t')
        return -1;
    *at = p;
    return 1;
}

static const char *take_pair(struct aof_manifest_entry *e, const char *key, struct slice value) {
    if (strcmp(key, "file") == 0) {
        if (e->name != NULL)
            return "two file names";
        if (value.n == 0 || memchr(value.p, '/', value.n) != NULL || memchr(value.p, '\0', value.n) != NULL)
            return "the file name must not be empty or have a directory";
        e->name = mem_strndup(value.p, value.n);
    } else if (strcmp(key, "seq") == 0) {
        if (num_parse_u64(value, &e->seq) != 0 || e->seq == 0)
            return "the sequence number is not a positive number";
    } else if (strcmp(key, "type") == 0) {
        if (value.n != 1 || (value.p[0] != 'b' && value.p[0] != 'h' && value.p[0] != 'i'))
            return "the type is none of b, h, i";
        e->type = (enum aof_file_type)value.p[0];
    }
    return NULL;
}

static const char *parse_line(struct aof_manifest *m, struct slice line) {
    struct aof_manifest_entry e = {0};
    struct buf key = BUF_INIT, value = BUF_INIT;
    const char *at = line.p, *end = line.p + line.n;
    const char *error = NULL;
    int words = 0;
    while (error == NULL) {
        buf_clear(&key);
        buf_clear(&value);
        int got = next_word(&at, end, &key);
        if (got == 0)
            break;
        if (got < 0 || next_word(&at, end, &value) != 1) {
            error = "quotes that do not close, or a key without a value";
            break;
        }
        buf_append_char(&key, '\0');
        error = take_pair(&e, key.data, buf_slice(&value));
        words += 2;
    }
    if (error == NULL && (e.name == NULL || e.seq == 0 || e.type == 0))
        error = words == 0 ? "an empty line" : "file, seq or type is missing";
    if (error == NULL && e.type == AOF_FILE_BASE && aof_manifest_base(m) != NULL)
        error = "a second base file";
    if (error == NULL && e.type == AOF_FILE_INCR)
        for (size_t i = 0; i < m->count; i++)
            if (m->entries[i].type == AOF_FILE_INCR && m->entries[i].seq >= e.seq)
                error = "the sequence numbers of increments do not ascend";
    if (error == NULL)
        aof_manifest_add(m, e.name, e.seq, e.type);
    mem_free(e.name);
    buf_deinit(&key);
    buf_deinit(&value);
    return error;
}

int aof_manifest_parse(struct aof_manifest *m, struct slice text, struct buf *ret_error) {
    size_t number = 0;
    if (text.n == 0) {
        buf_append_cstr(ret_error, "the manifest is empty");
        return -1;
    }
    for (const char *p = text.p, *end = text.p + text.n; p < end;) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        const char *error = NULL;
        number++;
        if (newline == NULL)
            error = "the last line does not end";
        else if (newline - p > LINE_MAX_BYTES)
            error = "the line is too long";
        else if (*p != '#')
            error = parse_line(m, slice_of(p, (size_t)(newline - p) - (newline > p && newline[-1] == '\r')));
        if (error != NULL) {
            buf_printf(ret_error, "line %zu: %s", number, error);
            return -1;
        }
        p = newline + 1;
    }
    return 0;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static bool needs_quotes(const char *name) {
    for (const char *p = name; *p != '\0'; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("._-+:", *p)))
            return true;
    return false;
}

static void format_type(const struct aof_manifest *m, enum aof_file_type type, struct buf *out) {
    for (size_t i = 0; i < m->count; i++) {
        const struct aof_manifest_entry *e = &m->entries[i];
        if (e->type != type)
            continue;
        buf_append_cstr(out, "file ");
        if (needs_quotes(e->name))
            buf_append_repr(out, slice_cstr(e->name));
        else
            buf_append_cstr(out, e->name);
        buf_printf(out, " seq %llu type %c\n", (unsigned long long)e->seq, (char)type);
    }
}

void aof_manifest_format(const struct aof_manifest *m, struct buf *out) {
    format_type(m, AOF_FILE_BASE, out);
    format_type(m, AOF_FILE_HISTORY, out);
    format_type(m, AOF_FILE_INCR, out);
}

int aof_manifest_load(const struct fs *fs, const char *path, struct aof_manifest *m, struct buf *ret_error) {
    struct buf text = BUF_INIT;
    int error = fs_read_file(fs, path, MANIFEST_MAX_BYTES, &text);
    if (error != 0) {
        buf_append_cstr(ret_error, strerror(-error));
    } else if (aof_manifest_parse(m, buf_slice(&text), ret_error) != 0) {
        error = -EINVAL;
    }
    buf_deinit(&text);
    return error;
}

int aof_manifest_store(const struct fs *fs, const char *path, const struct aof_manifest *m) {
    struct buf text = BUF_INIT;
    aof_manifest_format(m, &text);
    int error = fs_replace_file(fs, path, text.data, text.len, NULL);
    buf_deinit(&text);
    return error;
}

/* ---- names ----------------------------------------------------------------------------------------------------- */

static char *file_name(const char *filename, uint64_t seq, const char *suffix) {
    struct buf b = BUF_INIT;
    buf_printf(&b, "%s.%llu.%s", filename, (unsigned long long)seq, suffix);
    return buf_take_cstr(&b);
}

char *aof_manifest_base_name(const char *filename, uint64_t seq, bool rdb) {
    return file_name(filename, seq, rdb ? "base.rdb" : "base.aof");
}

char *aof_manifest_incr_name(const char *filename, uint64_t seq) {
    return file_name(filename, seq, "incr.aof");
}
