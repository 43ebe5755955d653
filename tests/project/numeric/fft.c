/*
 * Fast transforms: Fourier over complex doubles and over a prime field, cosine, and the
 * convolutions built on them. Running out of memory aborts.
 * Doesn't know lengths other than powers of two.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "field.h"
#include "numeric.h"

static const double PI = 3.14159265358979323846;

static void *room(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        abort();
    return p;
}

#define REVERSE_BITS(T, a, n)                        \
    do {                                             \
        for (size_t i_ = 1, j_ = 0; i_ < (n); i_++) { \
            size_t bit_ = (n) >> 1;                  \
            for (; j_ & bit_; bit_ >>= 1)            \
                j_ ^= bit_;                          \
            j_ |= bit_;                              \
            if (i_ < j_) {                           \
                T t_ = (a)[i_];                      \
                (a)[i_] = (a)[j_];                   \
                (a)[j_] = t_;                        \
            }                                        \
        }                                            \
    } while (0)

/* Two levels of butterflies at a time: half the walks over memory. */
static void quad(double complex *a, size_t n, size_t half, bool inverse, const double complex *root)
{
    size_t stride = n / (4 * half);
    for (size_t base = 0; base < n; base += 4 * half)
        for (size_t k = 0; k < half; k++) {
            double complex w2 = root[k * stride], w1 = root[2 * k * stride], w3 = w1 * w2;
            if (inverse) {
                w1 = conj(w1);
                w2 = conj(w2);
                w3 = conj(w3);
            }
            double complex *p = a + base + k;
            double complex a0 = p[0], a1 = p[half] * w1, a2 = p[2 * half] * w2, a3 = p[3 * half] * w3;
            double complex s = a0 + a1, d = a0 - a1, t = a2 + a3, u = a2 - a3;
            u *= inverse ? I : -I;
            p[0] = s + t;
            p[half] = d + u;
            p[2 * half] = s - t;
            p[3 * half] = d - u;
        }
}

void fft(double complex *a, size_t n, bool inverse)
{
    if (n < 2)
        return;
    double complex *root = room(n, sizeof *root);
    for (size_t k = 0; k < n; k++)
        root[k] = cexp(-2 * PI * I * (double)k / (double)n);
    REVERSE_BITS(double complex, a, n);
    size_t half = 1;
    int levels = 0;
    for (size_t m = n; m > 1; m /= 2)
        levels++;
    if (levels & 1) {
        for (size_t i = 0; i < n; i += 2) {
            double complex s = a[i] + a[i + 1], d = a[i] - a[i + 1];
            a[i] = s;
            a[i + 1] = d;
        }
        half = 2;
    }
    for (; half < n; half *= 4)
        quad(a, n, half, inverse, root);
    for (size_t i = 0; inverse && i < n; i++)
        a[i] /= (double)n;
    free(root);
}

/* Two real samples ride in one complex number; then they are told apart. */
void fft_real(const double *in, double complex *out, size_t n)
{
    size_t half = n / 2;
    double complex *z = room(half, sizeof *z);
    for (size_t i = 0; i < half; i++)
        z[i] = in[2 * i] + I * in[2 * i + 1];
    fft(z, half, false);
    for (size_t k = 0; k <= half; k++) {
        double complex a = z[k % half], b = conj(z[(half - k) % half]);
        double complex even = (a + b) / 2, odd = (a - b) / (2 * I);
        out[k] = even + cexp(-2 * PI * I * (double)k / (double)n) * odd;
    }
    for (size_t k = half + 1; k < n; k++)
        out[k] = conj(out[n - k]);
    free(z);
}

void ntt(uint32_t *a, size_t n, bool inverse)
{
    REVERSE_BITS(uint32_t, a, n);
    for (size_t half = 1; half < n; half *= 2) {
        uint32_t step = field_power(FIELD_ROOT, (FIELD_PRIME - 1) / (uint32_t)(2 * half));
        if (inverse)
            step = field_div(1, step);
        for (size_t base = 0; base < n; base += 2 * half) {
            uint32_t w = 1;
            for (size_t k = base; k < base + half; k++) {
                uint32_t x = a[k], y = field_mul(a[k + half], w);
                a[k] = field_add(x, y);
                a[k + half] = field_sub(x, y);
                w = field_mul(w, step);
            }
        }
    }
    uint32_t scale = inverse ? field_div(1, (uint32_t)n) : 1;
    for (size_t i = 0; inverse && i < n; i++)
        a[i] = field_mul(a[i], scale);
}

static size_t power_above(size_t n)
{
    size_t p = 1;
    while (p < n)
        p *= 2;
    return p;
}

void convolve_field(const uint32_t *a, size_t na, const uint32_t *b, size_t nb, uint32_t *out)
{
    size_t n = power_above(na + nb - 1);
    uint32_t *fa = room(n, sizeof *fa), *fb = room(n, sizeof *fb);
    memcpy(fa, a, na * sizeof *fa);
    memcpy(fb, b, nb * sizeof *fb);
    ntt(fa, n, false);
    ntt(fb, n, false);
    for (size_t i = 0; i < n; i++)
        fa[i] = field_mul(fa[i], fb[i]);
    ntt(fa, n, true);
    memcpy(out, fa, (na + nb - 1) * sizeof *out);
    free(fa);
    free(fb);
}

void convolve_f64(const double *a, size_t na, const double *b, size_t nb, double *out)
{
    size_t n = power_above(na + nb - 1);
    double complex *fa = room(n, sizeof *fa), *fb = room(n, sizeof *fb);
    for (size_t i = 0; i < na; i++)
        fa[i] = a[i];
    for (size_t i = 0; i < nb; i++)
        fb[i] = b[i];
    fft(fa, n, false);
    fft(fb, n, false);
    for (size_t i = 0; i < n; i++)
        fa[i] *= fb[i];
    fft(fa, n, true);
    for (size_t i = 0; i < na + nb - 1; i++)
        out[i] = creal(fa[i]);
    free(fa);
    free(fb);
}

/* DCT-II through one Fourier transform of the even samples up, the odd ones down. */
void dct(const double *in, double *out, size_t n)
{
    double complex *z = room(n, sizeof *z);
    for (size_t i = 0; i < n; i++)
        z[i] = i < (n + 1) / 2 ? in[2 * i] : in[2 * (n - i) - 1];
    fft(z, n, false);
    for (size_t k = 0; k < n; k++)
        out[k] = creal(z[k] * cexp(-I * PI * (double)k / (2.0 * (double)n)));
    free(z);
}
