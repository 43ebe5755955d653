/*
 * Checks big numbers and transforms by known values and by laws they must keep.
 * Doesn't know how they work.
 */
#include <math.h>

#include "check.h"
#include "field.h"
#include "numeric.h"

static struct big random_big(size_t digits)
{
    struct big a = big_from(1 + random_bits() % 1000);
    for (size_t i = 0; i < digits; i++) {
        struct big base = big_from(0xfffffffbu), more = big_from(random_bits() >> 32);
        struct big p = big_mul(&a, &base), s = big_add(&p, &more);
        big_free(&base);
        big_free(&more);
        big_free(&p);
        big_free(&a);
        a = s;
    }
    return a;
}

static void is_text(const struct big *a, const char *want)
{
    char *text = big_text(a);
    CHECK(!strcmp(text, want));
    free(text);
}

static void known_numbers(void)
{
    struct big two = big_from(2), ten = big_from(10), p = big_power(&two, 200);
    is_text(&p, "1606938044258990275541962092341162602522202993782792835301376");
    struct big root = big_root(&p), half = big_power(&two, 100);
    CHECK(!big_compare(&root, &half));
    struct big zero = big_sub(&p, &p), googol = big_power(&ten, 40);
    is_text(&zero, "0");
    is_text(&googol, "10000000000000000000000000000000000000000");
    struct big f = big_parse("30414093201713378043612608166064768844377641568960512000000000000");
    for (uint64_t i = 50; i > 1; i--) {
        struct big d = big_from(i), rest, q = big_div(&f, &d, &rest);
        CHECK(rest.n == 0);
        big_free(&rest);
        big_free(&d);
        big_free(&f);
        f = q;
    }
    is_text(&f, "1");
    struct big *all[] = {&two, &ten, &p, &root, &half, &zero, &googol, &f};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        big_free(all[i]);
}

static void number_laws(void)
{
    for (size_t round = 0; round < 60; round++) {
        struct big a = random_big(3 * round + 2), b = random_big(round + 1), rest;
        struct big q = big_div(&a, &b, &rest), qb = big_mul(&q, &b), sum = big_add(&qb, &rest);
        CHECK(big_compare(&rest, &b) < 0 && !big_compare(&sum, &a));
        struct big s = big_add(&a, &b), d = big_sub(&a, &b), sd = big_mul(&s, &d);
        struct big aa = big_mul(&a, &a), bb = big_mul(&b, &b), diff = big_sub(&aa, &bb);
        CHECK(!big_compare(&sd, &diff)); /* (a+b)(a-b) = a^2 - b^2 */
        struct big root = big_root(&aa);
        CHECK(!big_compare(&root, &a));
        struct big g = big_gcd(&aa, &a), back;
        CHECK(!big_compare(&g, &a));
        char *text = big_text(&a);
        back = big_parse(text);
        CHECK(!big_compare(&back, &a));
        free(text);
        struct big *all[] = {&a, &b, &rest, &q, &qb, &sum, &s, &d, &sd,
                             &aa, &bb, &diff, &root, &g, &back};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            big_free(all[i]);
    }
}

static void transforms(size_t n)
{
    double *real = calloc(n, sizeof *real), *cosine = calloc(n, sizeof *cosine);
    double complex *a = calloc(n, sizeof *a), *b = calloc(n, sizeof *b);
    CHECK(real && cosine && a && b);
    for (size_t i = 0; i < n; i++)
        a[i] = real[i] = random_f64() / 200;
    fft(a, n, false);
    fft_real(real, b, n);
    double complex mean = 0;
    for (size_t i = 0; i < n; i++) {
        CHECK(cabs(a[i] - b[i]) < 1e-9 * (double)n);
        mean += real[i];
    }
    CHECK(cabs(mean - a[0]) < 1e-9 * (double)n);
    fft(a, n, true);
    for (size_t i = 0; i < n; i++)
        CHECK(cabs(a[i] - real[i]) < 1e-9 * (double)n);
    dct(real, cosine, n);
    for (size_t k = 0; k < n; k += 1 + n / 7) {
        double sum = 0;
        for (size_t i = 0; i < n; i++)
            sum += real[i] * cos(acos(-1) / (double)n * ((double)i + 0.5) * (double)k);
        CHECK(fabs(sum - cosine[k]) < 1e-9 * (double)n);
    }
    free(real);
    free(cosine);
    free(a);
    free(b);
}

static void convolutions(void)
{
    enum { NA = 150, NB = 91 };
    static uint32_t a[NA], b[NB], got[NA + NB - 1], want[NA + NB - 1];
    static double fa[NA], fb[NB], fgot[NA + NB - 1], fwant[NA + NB - 1];
    for (int i = 0; i < NA; i++)
        a[i] = (uint32_t)(fa[i] = (double)(random_bits() % 1000));
    for (int i = 0; i < NB; i++)
        b[i] = (uint32_t)(fb[i] = (double)(random_bits() % 1000));
    for (int i = 0; i < NA; i++)
        for (int j = 0; j < NB; j++) {
            want[i + j] = field_add(want[i + j], field_mul(a[i], b[j]));
            fwant[i + j] += fa[i] * fb[j];
        }
    convolve_field(a, NA, b, NB, got);
    convolve_f64(fa, NA, fb, NB, fgot);
    for (int i = 0; i < NA + NB - 1; i++) {
        CHECK(got[i] == want[i]);
        CHECK(fabs(fgot[i] - fwant[i]) < 1e-4);
    }
}

int main(void)
{
    known_numbers();
    number_laws();
    for (size_t n = 2; n <= 4096; n *= 2)
        transforms(n);
    convolutions();
    puts("numeric: ok");
    return 0;
}
