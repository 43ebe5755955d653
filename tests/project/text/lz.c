/*
 * Packs bytes: copies of what came before, written as varints and not as bits, so it unpacks fast.
 * Format: the unpacked size, then runs of (literals, bytes..., length, distance) varints;
 * a length of 0 ends the stream. Doesn't know checksums.
 */
#include <stdint.h>
#include <string.h>

#include "parse.h"

enum { HASH_BITS = 13, LEAST = 4, CHAIN = 24, WINDOW = 1 << 15 };

struct sink {
    unsigned char *out;
    size_t room, n;
    bool full;
};

static void put_byte(struct sink *s, unsigned char c)
{
    if (s->n == s->room)
        s->full = true;
    else
        s->out[s->n++] = c;
}

static void put_varint(struct sink *s, size_t v)
{
    for (; v >= 128; v >>= 7)
        put_byte(s, (unsigned char)(v | 128));
    put_byte(s, (unsigned char)v);
}

static uint32_t hash4(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v * 2654435761u >> (32 - HASH_BITS);
}

struct finder {
    uint32_t head[1 << HASH_BITS], back[WINDOW]; /* positions plus one; 0: none */
};

static void remember(struct finder *f, const unsigned char *in, size_t i)
{
    uint32_t h = hash4(in + i);
    f->back[i % WINDOW] = f->head[h];
    f->head[h] = (uint32_t)i + 1;
}

static size_t longest(const struct finder *f, const unsigned char *in, size_t n, size_t i,
                      size_t *distance)
{
    size_t best = 0;
    uint32_t at = f->head[hash4(in + i)];
    for (int tries = CHAIN; at && tries--; at = f->back[(at - 1) % WINDOW]) {
        size_t j = at - 1, k = 0;
        if (j >= i || i - j >= WINDOW)
            break;
        while (i + k < n && in[j + k] == in[i + k])
            k++;
        if (k > best) {
            best = k;
            *distance = i - j;
        }
    }
    return best;
}

size_t lz_pack(const unsigned char *in, size_t n, unsigned char *out, size_t room)
{
    static struct finder f;
    struct sink s = {out, room, 0, false};
    size_t from = 0, i = 0;
    memset(&f, 0, sizeof f);
    put_varint(&s, n);
    while (i + LEAST <= n) {
        size_t distance = 0, length = longest(&f, in, n, i, &distance);
        remember(&f, in, i);
        if (length < LEAST) {
            i++;
            continue;
        }
        /* One step of patience: the next place may have a longer one. */
        if (i + 1 + LEAST <= n) {
            size_t later = 0;
            if (longest(&f, in, n, i + 1, &later) > length + 1) {
                i++;
                continue;
            }
        }
        put_varint(&s, i - from);
        while (from < i)
            put_byte(&s, in[from++]);
        put_varint(&s, length);
        put_varint(&s, distance);
        for (size_t end = i + length; ++i < end;)
            if (i + LEAST <= n)
                remember(&f, in, i);
        from = i;
    }
    put_varint(&s, n - from);
    while (from < n)
        put_byte(&s, in[from++]);
    put_varint(&s, 0);
    return s.full ? 0 : s.n;
}

static bool get_varint(const unsigned char **p, const unsigned char *end, size_t *v)
{
    *v = 0;
    for (int shift = 0; *p < end && shift < 35; shift += 7) {
        unsigned char c = *(*p)++;
        *v |= (size_t)(c & 127) << shift;
        if (c < 128)
            return true;
    }
    return false;
}

size_t lz_unpack(const unsigned char *in, size_t n, unsigned char *out, size_t room)
{
    const unsigned char *end = in + n;
    size_t size, done = 0;
    if (!get_varint(&in, end, &size) || size > room)
        return 0;
    for (;;) {
        size_t literals, length, distance;
        if (!get_varint(&in, end, &literals) || literals > size - done ||
            literals > (size_t)(end - in))
            return 0;
        if (literals)
            memcpy(out + done, in, literals);
        in += literals;
        done += literals;
        if (!get_varint(&in, end, &length))
            return 0;
        if (length == 0)
            return done == size && in == end ? size : 0;
        if (!get_varint(&in, end, &distance) || distance == 0 || distance > done ||
            length > size - done)
            return 0;
        /* Byte by byte: source and target may overlap, that is how runs are written. */
        for (; length; length--, done++)
            out[done] = out[done - distance];
    }
}
