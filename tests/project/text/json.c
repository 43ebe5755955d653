/*
 * Reads and writes JSON. Doesn't know files, nor how to keep the number's own spelling.
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

enum { DEEPEST = 200 };

struct reader {
    const char *at;
    int depth;
};

static struct json *read_value(struct reader *r);

static void skip_space(struct reader *r)
{
    while (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r')
        r->at++;
}

static bool accept(struct reader *r, const char *word)
{
    skip_space(r);
    size_t n = strlen(word);
    if (strncmp(r->at, word, n))
        return false;
    r->at += n;
    return true;
}

static long read_hex4(const char *p)
{
    long code = 0;
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)p[i]))
            return -1;
        int c = tolower((unsigned char)p[i]);
        code = code * 16 + (isdigit(c) ? c - '0' : c - 'a' + 10);
    }
    return code;
}

static char *put_utf8(char *out, unsigned long c)
{
    if (c < 0x80) {
        *out++ = (char)c;
    } else if (c < 0x800) {
        *out++ = (char)(0xc0 | c >> 6);
        *out++ = (char)(0x80 | (c & 63));
    } else if (c < 0x10000) {
        *out++ = (char)(0xe0 | c >> 12);
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    } else {
        *out++ = (char)(0xf0 | c >> 18);
        *out++ = (char)(0x80 | (c >> 12 & 63));
        *out++ = (char)(0x80 | (c >> 6 & 63));
        *out++ = (char)(0x80 | (c & 63));
    }
    return out;
}

/* No escape gets longer by decoding, so the source's length is room enough. */
static char *read_string(struct reader *r)
{
    if (!accept(r, "\""))
        return NULL;
    const char *p = r->at;
    while (*p && *p != '"')
        p += *p == '\\' && p[1] ? 2 : 1;
    char *string = malloc((size_t)(p - r->at) + 1), *out = string;
    if (!string)
        return NULL;
    while (*r->at && *r->at != '"') {
        unsigned char c = (unsigned char)*r->at++;
        if (c < 0x20)
            goto bad;
        if (c != '\\') {
            *out++ = (char)c;
            continue;
        }
        static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
        const char *simple = *r->at ? strchr(from, *r->at) : NULL;
        if (simple) {
            *out++ = to[simple - from];
            r->at++;
            continue;
        }
        long code = *r->at == 'u' ? read_hex4(r->at + 1) : -1;
        if (code <= 0)
            goto bad;
        r->at += 5;
        if (code >= 0xd800 && code < 0xdc00) {
            long low = r->at[0] == '\\' && r->at[1] == 'u' ? read_hex4(r->at + 2) : -1;
            if (low < 0xdc00 || low > 0xdfff)
                goto bad;
            r->at += 6;
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
        }
        out = put_utf8(out, (unsigned long)code);
    }
    if (*r->at == '"') {
        r->at++;
        *out = 0;
        return string;
    }
bad:
    free(string);
    return NULL;
}

static bool read_members(struct reader *r, struct json *v, const char *close)
{
    struct json **tail = &v->first;
    if (accept(r, close))
        return true;
    do {
        char *name = NULL;
        if (v->kind == JSON_OBJECT && (!(name = read_string(r)) || !accept(r, ":"))) {
            free(name);
            return false;
        }
        if (!(*tail = read_value(r))) {
            free(name);
            return false;
        }
        (*tail)->name = name;
        tail = &(*tail)->next;
    } while (accept(r, ","));
    return accept(r, close);
}

static bool read_number(struct reader *r, double *number)
{
    const char *p = r->at + (*r->at == '-');
    if (!isdigit((unsigned char)*p) || (*p == '0' && isdigit((unsigned char)p[1])))
        return false;
    char *end;
    *number = strtod(r->at, &end);
    r->at = end;
    return isfinite(*number);
}

static struct json *read_value(struct reader *r)
{
    struct json *v = calloc(1, sizeof *v);
    bool ok = false;
    if (!v)
        return NULL;
    skip_space(r);
    r->depth++;
    if (r->depth > DEEPEST) {
        ok = false;
    } else if (*r->at == '"') {
        v->kind = JSON_STRING;
        ok = (v->string = read_string(r)) != NULL;
    } else if (accept(r, "[")) {
        v->kind = JSON_ARRAY;
        ok = read_members(r, v, "]");
    } else if (accept(r, "{")) {
        v->kind = JSON_OBJECT;
        ok = read_members(r, v, "}");
    } else if (accept(r, "true")) {
        v->kind = JSON_TRUE;
        ok = true;
    } else if (accept(r, "false")) {
        v->kind = JSON_FALSE;
        ok = true;
    } else if (accept(r, "null")) {
        ok = true;
    } else {
        v->kind = JSON_NUMBER;
        ok = read_number(r, &v->number);
    }
    r->depth--;
    if (!ok) {
        json_free(v);
        return NULL;
    }
    return v;
}

struct json *json_read(const char *text)
{
    struct reader r = {text, 0};
    struct json *v = read_value(&r);
    skip_space(&r);
    if (v && *r.at) {
        json_free(v);
        return NULL;
    }
    return v;
}

struct writer {
    char *out;
    size_t room, n;
};

static void put(struct writer *w, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++, w->n++)
        if (w->n + 1 < w->room)
            w->out[w->n] = s[i];
}

static void write_string(struct writer *w, const char *s)
{
    put(w, "\"", 1);
    for (; *s; s++) {
        char escape[8];
        unsigned char c = (unsigned char)*s;
        if (c == '"' || c == '\\')
            put(w, escape, (size_t)snprintf(escape, sizeof escape, "\\%c", c));
        else if (c < 0x20)
            put(w, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", c));
        else
            put(w, s, 1);
    }
    put(w, "\"", 1);
}

static void write_value(struct writer *w, const struct json *v)
{
    static const char *const words[] = {"null", "false", "true"};
    char number[32];
    switch (v->kind) {
    case JSON_NULL:
    case JSON_FALSE:
    case JSON_TRUE:
        put(w, words[v->kind], strlen(words[v->kind]));
        break;
    case JSON_NUMBER:
        put(w, number, (size_t)snprintf(number, sizeof number, "%.17g", v->number));
        break;
    case JSON_STRING:
        write_string(w, v->string);
        break;
    case JSON_ARRAY:
    case JSON_OBJECT:
        put(w, v->kind == JSON_ARRAY ? "[" : "{", 1);
        for (const struct json *m = v->first; m; m = m->next) {
            if (m != v->first)
                put(w, ",", 1);
            if (v->kind == JSON_OBJECT) {
                write_string(w, m->name);
                put(w, ":", 1);
            }
            write_value(w, m);
        }
        put(w, v->kind == JSON_ARRAY ? "]" : "}", 1);
        break;
    }
}

size_t json_write(const struct json *v, char *out, size_t room)
{
    struct writer w = {out, room, 0};
    write_value(&w, v);
    if (room)
        out[w.n < room ? w.n : room - 1] = 0;
    return w.n;
}

const struct json *json_member(const struct json *v, const char *name)
{
    for (const struct json *m = v->first; m; m = m->next)
        if (m->name && !strcmp(m->name, name))
            return m;
    return NULL;
}

bool json_same(const struct json *a, const struct json *b)
{
    if (a->kind != b->kind || a->number != b->number)
        return false;
    if (a->kind == JSON_STRING && strcmp(a->string, b->string))
        return false;
    const struct json *m = a->first, *n = b->first;
    for (; m && n; m = m->next, n = n->next)
        if ((m->name && strcmp(m->name, n->name)) || !json_same(m, n))
            return false;
    return !m && !n;
}

void json_free(struct json *v)
{
    while (v) {
        struct json *next = v->next;
        json_free(v->first);
        free(v->name);
        free(v->string);
        free(v);
        v = next;
    }
}
