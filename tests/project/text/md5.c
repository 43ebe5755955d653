/*
 * MD5 in one call, a whole block unrolled. Doesn't know how to be fed piecewise.
 */
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "digest.h"

static uint32_t constant[64];

#define STEP(mix, a, b, c, d, word, turn, i)                 \
    do {                                                     \
        uint32_t x_ = a + (mix) + constant[i] + w[(word) & 15]; \
        a = b + (x_ << (turn) | x_ >> (32 - (turn)));        \
    } while (0)

/* Four steps bring the variables back to their roles. */
#define FOUR(M, mul, add, i, t0, t1, t2, t3)                                         \
    do {                                                                             \
        STEP(M(b, c, d), a, b, c, d, (mul) * (i) + (add), t0, i);                    \
        STEP(M(a, b, c), d, a, b, c, (mul) * ((i) + 1) + (add), t1, (i) + 1);        \
        STEP(M(d, a, b), c, d, a, b, (mul) * ((i) + 2) + (add), t2, (i) + 2);        \
        STEP(M(c, d, a), b, c, d, a, (mul) * ((i) + 3) + (add), t3, (i) + 3);        \
    } while (0)

#define F(x, y, z) (((x) & (y)) | (~(x) & (z)))
#define G(x, y, z) (((x) & (z)) | ((y) & ~(z)))
#define H(x, y, z) ((x) ^ (y) ^ (z))
#define I(x, y, z) ((y) ^ ((x) | ~(z)))

static void absorb(uint32_t s[4], const unsigned char *p)
{
    uint32_t w[16], a = s[0], b = s[1], c = s[2], d = s[3];
    for (int i = 0; i < 16; i++, p += 4)
        w[i] = p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
    FOUR(F, 1, 0, 0, 7, 12, 17, 22);
    FOUR(F, 1, 0, 4, 7, 12, 17, 22);
    FOUR(F, 1, 0, 8, 7, 12, 17, 22);
    FOUR(F, 1, 0, 12, 7, 12, 17, 22);
    FOUR(G, 5, 1, 16, 5, 9, 14, 20);
    FOUR(G, 5, 1, 20, 5, 9, 14, 20);
    FOUR(G, 5, 1, 24, 5, 9, 14, 20);
    FOUR(G, 5, 1, 28, 5, 9, 14, 20);
    FOUR(H, 3, 5, 32, 4, 11, 16, 23);
    FOUR(H, 3, 5, 36, 4, 11, 16, 23);
    FOUR(H, 3, 5, 40, 4, 11, 16, 23);
    FOUR(H, 3, 5, 44, 4, 11, 16, 23);
    FOUR(I, 7, 0, 48, 6, 10, 15, 21);
    FOUR(I, 7, 0, 52, 6, 10, 15, 21);
    FOUR(I, 7, 0, 56, 6, 10, 15, 21);
    FOUR(I, 7, 0, 60, 6, 10, 15, 21);
    s[0] += a;
    s[1] += b;
    s[2] += c;
    s[3] += d;
}

void md5(const void *data, size_t n, unsigned char out[16])
{
    uint32_t s[4] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u};
    const unsigned char *p = data;
    size_t left = n;
    for (int i = 0; !constant[63] && i < 64; i++)
        constant[i] = (uint32_t)(fabs(sin(i + 1)) * 4294967296.0);
    for (; left >= 64; left -= 64, p += 64)
        absorb(s, p);
    unsigned char last[128] = {0};
    if (left)
        memcpy(last, p, left);
    last[left] = 0x80;
    size_t size = left < 56 ? 64 : 128;
    uint64_t length = (uint64_t)n * 8;
    for (int i = 0; i < 8; i++)
        last[size - 8 + i] = (unsigned char)(length >> 8 * i);
    for (size_t i = 0; i < size; i += 64)
        absorb(s, last + i);
    for (int i = 0; i < 16; i++)
        out[i] = (unsigned char)(s[i / 4] >> 8 * (i % 4));
}
