/*
 * Arithmetic modulo the prime 998244353, for matrices and for the number-theoretic transform.
 * It doesn't know matrices or transforms.
 */
#ifndef FIELD_H
#define FIELD_H

#include <stdint.h>

#define FIELD_PRIME 998244353u
#define FIELD_ROOT 3u

static inline uint32_t field_add(uint32_t a, uint32_t b)
{
    uint32_t s = a + b;
    return s >= FIELD_PRIME ? s - FIELD_PRIME : s;
}

static inline uint32_t field_sub(uint32_t a, uint32_t b)
{
    return a >= b ? a - b : a + FIELD_PRIME - b;
}

static inline uint32_t field_mul(uint32_t a, uint32_t b)
{
    return (uint32_t)((uint64_t)a * b % FIELD_PRIME);
}

static inline uint32_t field_power(uint32_t a, uint32_t e)
{
    uint32_t r = 1;
    for (; e; e >>= 1, a = field_mul(a, a))
        if (e & 1)
            r = field_mul(r, a);
    return r;
}

static inline uint32_t field_div(uint32_t a, uint32_t b)
{
    return field_mul(a, field_power(b, FIELD_PRIME - 2));
}

#endif
