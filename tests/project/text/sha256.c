/*
 * SHA-256 in one call, sixteen rounds unrolled. Doesn't know how to be fed piecewise.
 */
#include <stdint.h>
#include <string.h>

#include "digest.h"

enum { BLOCK = 64, LENGTH = 8 };

static const uint32_t constant[64] = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u,
    0x923f82a4u, 0xab1c5ed5u, 0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u,
    0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u, 0xe49b69c1u, 0xefbe4786u,
    0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u,
    0x06ca6351u, 0x14292967u, 0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u,
    0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u, 0xa2bfe8a1u, 0xa81a664bu,
    0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au,
    0x5b9cca4fu, 0x682e6ff3u, 0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u,
    0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

#define ROTATE(x, n) ((x) >> (n) | (x) << (32 - (n)))
#define BIG0(x) (ROTATE(x, 2) ^ ROTATE(x, 13) ^ ROTATE(x, 22))
#define BIG1(x) (ROTATE(x, 6) ^ ROTATE(x, 11) ^ ROTATE(x, 25))
#define SMALL0(x) (ROTATE(x, 7) ^ ROTATE(x, 18) ^ (x) >> 3)
#define SMALL1(x) (ROTATE(x, 17) ^ ROTATE(x, 19) ^ (x) >> 10)

/* The variables' roles turn with each round, so that nothing has to be moved. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                            \
    do {                                                                            \
        if (r)                                                                      \
            w[i] += SMALL1(w[(i + 14) & 15]) + w[(i + 9) & 15] + SMALL0(w[(i + 1) & 15]); \
        h += BIG1(e) + ((e & f) ^ (~e & g)) + constant[r + i] + w[i];                \
        d += h;                                                                     \
        h += BIG0(a) + ((a & b) ^ (a & c) ^ (b & c));                               \
    } while (0)

static void absorb(uint32_t s[8], const unsigned char *p)
{
    uint32_t w[16];
    for (int i = 0; i < 16; i++) {
        w[i] = 0;
        for (size_t j = 0; j < sizeof *w; j++)
            w[i] = w[i] << 8 | *p++;
    }
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int r = 0; r < 64; r += 16) {
        ROUND(a, b, c, d, e, f, g, h, 0);
        ROUND(h, a, b, c, d, e, f, g, 1);
        ROUND(g, h, a, b, c, d, e, f, 2);
        ROUND(f, g, h, a, b, c, d, e, 3);
        ROUND(e, f, g, h, a, b, c, d, 4);
        ROUND(d, e, f, g, h, a, b, c, 5);
        ROUND(c, d, e, f, g, h, a, b, 6);
        ROUND(b, c, d, e, f, g, h, a, 7);
        ROUND(a, b, c, d, e, f, g, h, 8);
        ROUND(h, a, b, c, d, e, f, g, 9);
        ROUND(g, h, a, b, c, d, e, f, 10);
        ROUND(f, g, h, a, b, c, d, e, 11);
        ROUND(e, f, g, h, a, b, c, d, 12);
        ROUND(d, e, f, g, h, a, b, c, 13);
        ROUND(c, d, e, f, g, h, a, b, 14);
        ROUND(b, c, d, e, f, g, h, a, 15);
    }
    s[0] += a;
    s[1] += b;
    s[2] += c;
    s[3] += d;
    s[4] += e;
    s[5] += f;
    s[6] += g;
    s[7] += h;
}

void sha256(const void *data, size_t n, unsigned char out[32])
{
    uint32_t s[8] = {
        0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
        0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u,
    };
    const unsigned char *p = data;
    size_t left = n;
    for (; left >= BLOCK; left -= BLOCK, p += BLOCK)
        absorb(s, p);
    unsigned char last[2 * BLOCK] = {0};
    if (left)
        memcpy(last, p, left);
    last[left] = 0x80;
    size_t size = left + 1 + LENGTH <= BLOCK ? BLOCK : 2 * BLOCK;
    uint64_t length = (uint64_t)n * 8;
    for (int i = 0; i < 8; i++)
        last[size - 1 - i] = (unsigned char)(length >> 8 * i);
    for (size_t i = 0; i < size; i += BLOCK)
        absorb(s, last + i);
    for (int i = 0; i < 8; i++)
        for (size_t j = sizeof *s; j-- > 0;)
            *out++ = (unsigned char)(s[i] >> 8 * j);
}
