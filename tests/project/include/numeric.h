/*
 * Big natural numbers and fast transforms. Doesn't know matrices.
 */
#ifndef NUMERIC_H
#define NUMERIC_H

#include <complex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Little-endian digits of base 2^32 without leading zeros; an empty one is 0. */
struct big {
    uint32_t *digit;
    size_t n;
};

struct big big_from(uint64_t v);
struct big big_parse(const char *decimal);
char *big_text(const struct big *a);
int big_compare(const struct big *a, const struct big *b);
struct big big_add(const struct big *a, const struct big *b);
struct big big_sub(const struct big *a, const struct big *b); /* a >= b */
struct big big_mul(const struct big *a, const struct big *b);
struct big big_div(const struct big *a, const struct big *b, struct big *rest);
struct big big_power(const struct big *a, unsigned e);
struct big big_gcd(const struct big *a, const struct big *b);
struct big big_root(const struct big *a);
void big_free(struct big *a);

/* n is a power of two; the inverse divides by n. */
void fft(double complex *a, size_t n, bool inverse);
void fft_real(const double *in, double complex *out, size_t n);
void ntt(uint32_t *a, size_t n, bool inverse);
void convolve_field(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, uint32_t *out);
void convolve_f64(const double *a, size_t na, const double *b, size_t nb, double *out);
void dct(const double *in, double *out, size_t n);

#endif
