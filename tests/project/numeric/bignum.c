/*
 * Big natural numbers. Doesn't know signs; running out of memory aborts.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "numeric.h"

enum { KARATSUBA = 24 };

static struct big room(size_t n)
{
    struct big a = {calloc(n ? n : 1, sizeof *a.digit), n};
    if (!a.digit)
        abort();
    return a;
}

static struct big trim(struct big a)
{
    while (a.n && a.digit[a.n - 1] == 0)
        a.n--;
    return a;
}

static struct big copy(const struct big *a)
{
    struct big c = room(a->n);
    memcpy(c.digit, a->digit, a->n * sizeof *a->digit);
    return c;
}

static void replace(struct big *a, struct big with)
{
    big_free(a);
    *a = with;
}

void big_free(struct big *a)
{
    free(a->digit);
    *a = (struct big){NULL, 0};
}

struct big big_from(uint64_t v)
{
    struct big a = room(2);
    a.digit[0] = (uint32_t)v;
    a.digit[1] = (uint32_t)(v >> 32);
    return trim(a);
}

int big_compare(const struct big *a, const struct big *b)
{
    if (a->n != b->n)
        return a->n < b->n ? -1 : 1;
    for (size_t i = a->n; i-- > 0;)
        if (a->digit[i] != b->digit[i])
            return a->digit[i] < b->digit[i] ? -1 : 1;
    return 0;
}

/* out += a, and out has room for the carry. */
static void add_into(uint32_t *out, const uint32_t *a, size_t n)
{
    uint64_t carry = 0;
    size_t i = 0;
    for (; i < n; i++) {
        carry += (uint64_t)out[i] + a[i];
        out[i] = (uint32_t)carry;
        carry >>= 32;
    }
    for (; carry; i++) {
        carry += out[i];
        out[i] = (uint32_t)carry;
        carry >>= 32;
    }
}

/* out -= a, which isn't greater. */
static void sub_from(uint32_t *out, const uint32_t *a, size_t n)
{
    uint64_t borrow = 0;
    size_t i = 0;
    for (; i < n; i++) {
        uint64_t d = (uint64_t)out[i] - a[i] - borrow;
        out[i] = (uint32_t)d;
        borrow = d >> 63;
    }
    for (; borrow; i++) {
        uint64_t d = (uint64_t)out[i] - borrow;
        out[i] = (uint32_t)d;
        borrow = d >> 63;
    }
}

struct big big_add(const struct big *a, const struct big *b)
{
    if (a->n < b->n)
        return big_add(b, a);
    struct big sum = room(a->n + 1);
    memcpy(sum.digit, a->digit, a->n * sizeof *a->digit);
    add_into(sum.digit, b->digit, b->n);
    return trim(sum);
}

struct big big_sub(const struct big *a, const struct big *b)
{
    struct big d = copy(a);
    sub_from(d.digit, b->digit, b->n);
    return trim(d);
}

/* out has na + nb zeroed digits. */
static void mul_plain(uint32_t *out, const uint32_t *a, size_t na, const uint32_t *b, size_t nb)
{
    for (size_t i = 0; i < na; i++) {
        uint64_t carry = 0;
        for (size_t j = 0; j < nb; j++) {
            carry += (uint64_t)a[i] * b[j] + out[i + j];
            out[i + j] = (uint32_t)carry;
            carry >>= 32;
        }
        out[i + nb] = (uint32_t)carry;
    }
}

/* Equal lengths: three products of half the size instead of four. */
static void mul_even(uint32_t *out, const uint32_t *a, const uint32_t *b, size_t n)
{
    if (n < KARATSUBA) {
        mul_plain(out, a, n, b, n);
        return;
    }
    size_t lo = n / 2, hi = n - lo, w = hi + 1;
    uint32_t *work = calloc(4 * w, sizeof *work);
    if (!work)
        abort();
    uint32_t *sa = work, *sb = work + w, *middle = work + 2 * w;
    memcpy(sa, a + lo, hi * sizeof *a);
    memcpy(sb, b + lo, hi * sizeof *b);
    add_into(sa, a, lo);
    add_into(sb, b, lo);
    mul_even(middle, sa, sb, w);
    mul_even(out, a, b, lo);
    mul_even(out + 2 * lo, a + lo, b + lo, hi);
    sub_from(middle, out, 2 * lo);
    sub_from(middle, out + 2 * lo, 2 * hi);
    size_t n_middle = 2 * w;
    while (n_middle && middle[n_middle - 1] == 0)
        n_middle--;
    add_into(out + lo, middle, n_middle);
    free(work);
}

struct big big_mul(const struct big *a, const struct big *b)
{
    if (a->n < b->n)
        return big_mul(b, a);
    struct big p = room(a->n + b->n);
    if (b->n < KARATSUBA) {
        mul_plain(p.digit, a->digit, a->n, b->digit, b->n);
        return trim(p);
    }
    uint32_t *piece = malloc(2 * b->n * sizeof *piece);
    if (!piece)
        abort();
    for (size_t i = 0; i < a->n; i += b->n) {
        size_t n = a->n - i < b->n ? a->n - i : b->n;
        memset(piece, 0, 2 * b->n * sizeof *piece);
        if (n == b->n)
            mul_even(piece, a->digit + i, b->digit, n);
        else
            mul_plain(piece, a->digit + i, n, b->digit, b->n);
        add_into(p.digit + i, piece, n + b->n);
    }
    free(piece);
    return trim(p);
}

static uint32_t div_small(struct big *a, uint32_t d)
{
    uint64_t rest = 0;
    for (size_t i = a->n; i-- > 0;) {
        rest = rest << 32 | a->digit[i];
        a->digit[i] = (uint32_t)(rest / d);
        rest %= d;
    }
    *a = trim(*a);
    return (uint32_t)rest;
}

static struct big shifted(const struct big *a, unsigned bits)
{
    struct big s = room(a->n + 1);
    uint64_t carry = 0;
    for (size_t i = 0; i < a->n; i++) {
        carry |= (uint64_t)a->digit[i] << bits;
        s.digit[i] = (uint32_t)carry;
        carry >>= 32;
    }
    s.digit[a->n] = (uint32_t)carry;
    return s;
}

/* Knuth's algorithm D; b isn't 0, rest may be NULL. */
struct big big_div(const struct big *a, const struct big *b, struct big *rest)
{
    struct big q;
    if (b->n == 1 || big_compare(a, b) < 0) {
        q = copy(a);
        struct big r;
        if (b->n == 1) {
            r = big_from(div_small(&q, b->digit[0]));
        } else {
            r = q;
            q = room(0);
        }
        if (rest)
            *rest = r;
        else
            big_free(&r);
        return q;
    }
    unsigned bits = (unsigned)__builtin_clz(b->digit[b->n - 1]);
    struct big u = shifted(a, bits), v = trim(shifted(b, bits));
    size_t n = v.n;
    uint64_t top = v.digit[n - 1];
    q = room(a->n - n + 1);
    for (size_t j = q.n; j-- > 0;) {
        uint64_t head = (uint64_t)u.digit[j + n] << 32 | u.digit[j + n - 1];
        uint64_t guess = head / top, left = head % top;
        while (guess >> 32 || guess * v.digit[n - 2] > (left << 32 | u.digit[j + n - 2])) {
            guess--;
            left += top;
            if (left >> 32)
                break;
        }
        uint64_t carry = 0, borrow = 0;
        for (size_t i = 0; i <= n; i++) {
            carry += guess * (i < n ? v.digit[i] : 0);
            uint64_t d = (uint64_t)u.digit[j + i] - (uint32_t)carry - borrow;
            u.digit[j + i] = (uint32_t)d;
            borrow = d >> 63;
            carry >>= 32;
        }
        if (borrow) {
            guess--;
            uint64_t c = 0;
            for (size_t i = 0; i <= n; i++) {
                c += (uint64_t)u.digit[j + i] + (i < n ? v.digit[i] : 0);
                u.digit[j + i] = (uint32_t)c;
                c >>= 32;
            }
        }
        q.digit[j] = (uint32_t)guess;
    }
    for (size_t i = 0; bits && i < n; i++)
        u.digit[i] = u.digit[i] >> bits | (uint32_t)((uint64_t)u.digit[i + 1] << (32 - bits));
    u.n = n;
    if (rest)
        *rest = trim(u);
    else
        big_free(&u);
    big_free(&v);
    return trim(q);
}

struct big big_parse(const char *decimal)
{
    struct big a = room(0);
    for (; isdigit((unsigned char)*decimal); decimal++) {
        struct big ten = big_from(10), digit = big_from((uint64_t)(*decimal - '0'));
        replace(&a, big_mul(&a, &ten));
        replace(&a, big_add(&a, &digit));
        big_free(&ten);
        big_free(&digit);
    }
    return a;
}

char *big_text(const struct big *a)
{
    size_t size = a->n * 10 + 2, at = size - 1;
    char *text = malloc(size);
    if (!text)
        abort();
    text[at] = 0;
    struct big left = copy(a);
    do {
        uint32_t part = div_small(&left, 1000000000);
        for (int i = 0; i < 9 && (left.n || part || at == size - 1); i++, part /= 10)
            text[--at] = (char)('0' + part % 10);
    } while (left.n);
    big_free(&left);
    memmove(text, text + at, size - at);
    return text;
}

struct big big_power(const struct big *a, unsigned e)
{
    struct big r = big_from(1), base = copy(a);
    for (; e; e >>= 1) {
        if (e & 1)
            replace(&r, big_mul(&r, &base));
        if (e > 1)
            replace(&base, big_mul(&base, &base));
    }
    big_free(&base);
    return r;
}

struct big big_gcd(const struct big *a, const struct big *b)
{
    struct big x = copy(a), y = copy(b), rest;
    while (y.n) {
        struct big q = big_div(&x, &y, &rest);
        big_free(&q);
        big_free(&x);
        x = y;
        y = rest;
    }
    big_free(&y);
    return x;
}

/* The integer square root: Newton from above, so it falls until it is there. */
struct big big_root(const struct big *a)
{
    struct big x = room(a->n / 2 + 2);
    x.digit[a->n / 2 + 1] = 1;
    for (;;) {
        struct big q = big_div(a, &x, NULL), next = big_add(&x, &q);
        div_small(&next, 2);
        big_free(&q);
        if (big_compare(&next, &x) >= 0) {
            big_free(&next);
            break;
        }
        replace(&x, next);
    }
    return x;
}
