/*
 * SHA-512 in one call, sixteen rounds unrolled. Doesn't know how to be fed piecewise.
 */
#include <stdint.h>
#include <string.h>

#include "digest.h"

enum { BLOCK = 128, LENGTH = 16 };

static const uint64_t constant[80] = {
    0x428a2f98d728ae22u, 0x7137449123ef65cdu, 0xb5c0fbcfec4d3b2fu, 0xe9b5dba58189dbbcu,
    0x3956c25bf348b538u, 0x59f111f1b605d019u, 0x923f82a4af194f9bu, 0xab1c5ed5da6d8118u,
    0xd807aa98a3030242u, 0x12835b0145706fbeu, 0x243185be4ee4b28cu, 0x550c7dc3d5ffb4e2u,
    0x72be5d74f27b896fu, 0x80deb1fe3b1696b1u, 0x9bdc06a725c71235u, 0xc19bf174cf692694u,
    0xe49b69c19ef14ad2u, 0xefbe4786384f25e3u, 0x0fc19dc68b8cd5b5u, 0x240ca1cc77ac9c65u,
    0x2de92c6f592b0275u, 0x4a7484aa6ea6e483u, 0x5cb0a9dcbd41fbd4u, 0x76f988da831153b5u,
    0x983e5152ee66dfabu, 0xa831c66d2db43210u, 0xb00327c898fb213fu, 0xbf597fc7beef0ee4u,
    0xc6e00bf33da88fc2u, 0xd5a79147930aa725u, 0x06ca6351e003826fu, 0x142929670a0e6e70u,
    0x27b70a8546d22ffcu, 0x2e1b21385c26c926u, 0x4d2c6dfc5ac42aedu, 0x53380d139d95b3dfu,
    0x650a73548baf63deu, 0x766a0abb3c77b2a8u, 0x81c2c92e47edaee6u, 0x92722c851482353bu,
    0xa2bfe8a14cf10364u, 0xa81a664bbc423001u, 0xc24b8b70d0f89791u, 0xc76c51a30654be30u,
    0xd192e819d6ef5218u, 0xd69906245565a910u, 0xf40e35855771202au, 0x106aa07032bbd1b8u,
    0x19a4c116b8d2d0c8u, 0x1e376c085141ab53u, 0x2748774cdf8eeb99u, 0x34b0bcb5e19b48a8u,
    0x391c0cb3c5c95a63u, 0x4ed8aa4ae3418acbu, 0x5b9cca4f7763e373u, 0x682e6ff3d6b2b8a3u,
    0x748f82ee5defb2fcu, 0x78a5636f43172f60u, 0x84c87814a1f0ab72u, 0x8cc702081a6439ecu,
    0x90befffa23631e28u, 0xa4506cebde82bde9u, 0xbef9a3f7b2c67915u, 0xc67178f2e372532bu,
    0xca273eceea26619cu, 0xd186b8c721c0c207u, 0xeada7dd6cde0eb1eu, 0xf57d4f7fee6ed178u,
    0x06f067aa72176fbau, 0x0a637dc5a2c898a6u, 0x113f9804bef90daeu, 0x1b710b35131c471bu,
    0x28db77f523047d84u, 0x32caab7b40c72493u, 0x3c9ebe0a15c9bebcu, 0x431d67c49c100d4cu,
    0x4cc5d4becb3e42b6u, 0x597f299cfc657e2au, 0x5fcb6fab3ad6faecu, 0x6c44198c4a475817u,
};

#define ROTATE(x, n) ((x) >> (n) | (x) << (64 - (n)))
#define BIG0(x) (ROTATE(x, 28) ^ ROTATE(x, 34) ^ ROTATE(x, 39))
#define BIG1(x) (ROTATE(x, 14) ^ ROTATE(x, 18) ^ ROTATE(x, 41))
#define SMALL0(x) (ROTATE(x, 1) ^ ROTATE(x, 8) ^ (x) >> 7)
#define SMALL1(x) (ROTATE(x, 19) ^ ROTATE(x, 61) ^ (x) >> 6)

/* The variables' roles turn with each round, so that nothing has to be moved. */
#define ROUND(a, b, c, d, e, f, g, h, i)                                            \
    do {                                                                            \
        if (r)                                                                      \
            w[i] += SMALL1(w[(i + 14) & 15]) + w[(i + 9) & 15] + SMALL0(w[(i + 1) & 15]); \
        h += BIG1(e) + ((e & f) ^ (~e & g)) + constant[r + i] + w[i];                \
        d += h;                                                                     \
        h += BIG0(a) + ((a & b) ^ (a & c) ^ (b & c));                               \
    } while (0)

static void absorb(uint64_t s[8], const unsigned char *p)
{
    uint64_t w[16];
    for (int i = 0; i < 16; i++) {
        w[i] = 0;
        for (size_t j = 0; j < sizeof *w; j++)
            w[i] = w[i] << 8 | *p++;
    }
    uint64_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    for (int r = 0; r < 80; r += 16) {
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

void sha512(const void *data, size_t n, unsigned char out[64])
{
    uint64_t s[8] = {
        0x6a09e667f3bcc908u, 0xbb67ae8584caa73bu, 0x3c6ef372fe94f82bu, 0xa54ff53a5f1d36f1u,
        0x510e527fade682d1u, 0x9b05688c2b3e6c1fu, 0x1f83d9abfb41bd6bu, 0x5be0cd19137e2179u,
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
