/*
 * A template: every include defines small and large matrix algebra over one field.
 * It doesn't know the field; the includer says:
 *   MAT_NAME  prefix     MAT_TYPE  the scalar     MAT_ZERO, MAT_ONE  its constants
 *   MAT_ADD, MAT_SUB, MAT_MUL, MAT_DIV (a, b)     MAT_SIZE(a)  for choosing pivots
 * Define MAT_DECLARE to get the prototypes only; the parameters then stay defined
 * for the includer's own use. Matrices are row-major n*n arrays.
 * No include guard: it is meant to be included several times.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "paste.h"

#define FN(suffix) PASTE(MAT_NAME, suffix)
#define T MAT_TYPE

void FN(identity)(T *a, size_t n);
void FN(mul)(T *restrict out, const T *restrict a, const T *restrict b, size_t n);
void FN(mul_blocked)(T *restrict out, const T *restrict a, const T *restrict b, size_t n);
void FN(mul4)(T out[16], const T a[16], const T b[16]);
T FN(det3)(const T a[9]);
T FN(det4)(const T a[16]);
void FN(transpose)(T *a, size_t n);
T FN(trace)(const T *a, size_t n);
bool FN(lu)(T *a, size_t *order, int *sign, size_t n);
T FN(det)(const T *a, size_t n);
bool FN(solve)(const T *a, const T *b, T *x, size_t n);
bool FN(inverse)(const T *a, T *out, size_t n);
bool FN(power)(T *out, const T *a, size_t n, unsigned e);
size_t FN(rank)(const T *a, size_t rows, size_t columns);

#ifndef MAT_DECLARE

void FN(identity)(T *a, size_t n)
{
    for (size_t i = 0; i < n * n; i++)
        a[i] = i % (n + 1) ? MAT_ZERO : MAT_ONE;
}

void FN(mul)(T *restrict out, const T *restrict a, const T *restrict b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            out[i * n + j] = MAT_ZERO;
        for (size_t k = 0; k < n; k++) {
            T f = a[i * n + k];
            for (size_t j = 0; j < n; j++)
                out[i * n + j] = MAT_ADD(out[i * n + j], MAT_MUL(f, b[k * n + j]));
        }
    }
}

/* The same in tiles that stay in the first-level cache; any n. */
void FN(mul_blocked)(T *restrict out, const T *restrict a, const T *restrict b, size_t n)
{
    enum { TILE = 24 };
    for (size_t i = 0; i < n * n; i++)
        out[i] = MAT_ZERO;
    for (size_t i0 = 0; i0 < n; i0 += TILE)
        for (size_t k0 = 0; k0 < n; k0 += TILE)
            for (size_t j0 = 0; j0 < n; j0 += TILE)
                for (size_t i = i0; i < n && i < i0 + TILE; i++)
                    for (size_t k = k0; k < n && k < k0 + TILE; k++) {
                        T f = a[i * n + k];
                        for (size_t j = j0; j < n && j < j0 + TILE; j++)
                            out[i * n + j] =
                                MAT_ADD(out[i * n + j], MAT_MUL(f, b[k * n + j]));
                    }
}

#define DOT4(i, j)                                                            \
    MAT_ADD(MAT_ADD(MAT_MUL(a[4 * i], b[j]), MAT_MUL(a[4 * i + 1], b[4 + j])), \
            MAT_ADD(MAT_MUL(a[4 * i + 2], b[8 + j]), MAT_MUL(a[4 * i + 3], b[12 + j])))
#define ROW4(i)                                                          \
    out[4 * i] = DOT4(i, 0), out[4 * i + 1] = DOT4(i, 1),                \
    out[4 * i + 2] = DOT4(i, 2), out[4 * i + 3] = DOT4(i, 3)

void FN(mul4)(T out[16], const T a[16], const T b[16])
{
    ROW4(0);
    ROW4(1);
    ROW4(2);
    ROW4(3);
}

#define DET2(p, q, r, s) MAT_SUB(MAT_MUL(a[p], a[s]), MAT_MUL(a[q], a[r]))

T FN(det3)(const T a[9])
{
    return MAT_ADD(MAT_SUB(MAT_MUL(a[0], DET2(4, 5, 7, 8)), MAT_MUL(a[1], DET2(3, 5, 6, 8))),
                   MAT_MUL(a[2], DET2(3, 4, 6, 7)));
}

/* Laplace by pairs of rows: six products of 2x2 minors. */
T FN(det4)(const T a[16])
{
    T d = MAT_MUL(DET2(0, 1, 4, 5), DET2(10, 11, 14, 15));
    d = MAT_SUB(d, MAT_MUL(DET2(0, 2, 4, 6), DET2(9, 11, 13, 15)));
    d = MAT_ADD(d, MAT_MUL(DET2(0, 3, 4, 7), DET2(9, 10, 13, 14)));
    d = MAT_ADD(d, MAT_MUL(DET2(1, 2, 5, 6), DET2(8, 11, 12, 15)));
    d = MAT_SUB(d, MAT_MUL(DET2(1, 3, 5, 7), DET2(8, 10, 12, 14)));
    return MAT_ADD(d, MAT_MUL(DET2(2, 3, 6, 7), DET2(8, 9, 12, 13)));
}

void FN(transpose)(T *a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = i + 1; j < n; j++) {
            T t = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = t;
        }
}

T FN(trace)(const T *a, size_t n)
{
    T sum = MAT_ZERO;
    for (size_t i = 0; i < n; i++)
        sum = MAT_ADD(sum, a[i * n + i]);
    return sum;
}

/* In place; false if singular. order[i] is the row of the input that went to row i. */
bool FN(lu)(T *a, size_t *order, int *sign, size_t n)
{
    *sign = 1;
    for (size_t i = 0; i < n; i++)
        order[i] = i;
    for (size_t k = 0; k < n; k++) {
        size_t best = k;
        for (size_t i = k + 1; i < n; i++)
            if (MAT_SIZE(a[i * n + k]) > MAT_SIZE(a[best * n + k]))
                best = i;
        if (MAT_SIZE(a[best * n + k]) == 0)
            return false;
        if (best != k) {
            for (size_t j = 0; j < n; j++) {
                T t = a[k * n + j];
                a[k * n + j] = a[best * n + j];
                a[best * n + j] = t;
            }
            size_t t = order[k];
            order[k] = order[best];
            order[best] = t;
            *sign = -*sign;
        }
        for (size_t i = k + 1; i < n; i++) {
            T f = MAT_DIV(a[i * n + k], a[k * n + k]);
            a[i * n + k] = f;
            for (size_t j = k + 1; j < n; j++)
                a[i * n + j] = MAT_SUB(a[i * n + j], MAT_MUL(f, a[k * n + j]));
        }
    }
    return true;
}

static void FN(substitute)(const T *lu, const size_t *order, const T *b, T *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = b[order[i]];
        for (size_t j = 0; j < i; j++)
            x[i] = MAT_SUB(x[i], MAT_MUL(lu[i * n + j], x[j]));
    }
    for (size_t i = n; i-- > 0;) {
        for (size_t j = i + 1; j < n; j++)
            x[i] = MAT_SUB(x[i], MAT_MUL(lu[i * n + j], x[j]));
        x[i] = MAT_DIV(x[i], lu[i * n + i]);
    }
}

T FN(det)(const T *a, size_t n)
{
    T *lu = malloc(n * n * sizeof *lu), d = MAT_ZERO;
    size_t *order = malloc(n * sizeof *order);
    int sign;
    if (lu && order) {
        memcpy(lu, a, n * n * sizeof *lu);
        if (FN(lu)(lu, order, &sign, n)) {
            d = MAT_ONE;
            for (size_t i = 0; i < n; i++)
                d = MAT_MUL(d, lu[i * n + i]);
            if (sign < 0)
                d = MAT_SUB(MAT_ZERO, d);
        }
    }
    free(lu);
    free(order);
    return d;
}

bool FN(solve)(const T *a, const T *b, T *x, size_t n)
{
    T *lu = malloc(n * n * sizeof *lu);
    size_t *order = malloc(n * sizeof *order);
    int sign;
    bool ok = lu && order;
    if (ok) {
        memcpy(lu, a, n * n * sizeof *lu);
        ok = FN(lu)(lu, order, &sign, n);
        if (ok)
            FN(substitute)(lu, order, b, x, n);
    }
    free(lu);
    free(order);
    return ok;
}

bool FN(inverse)(const T *a, T *out, size_t n)
{
    T *lu = malloc(n * n * sizeof *lu), *unit = malloc(n * sizeof *unit);
    size_t *order = malloc(n * sizeof *order);
    int sign;
    bool ok = lu && unit && order;
    if (ok) {
        memcpy(lu, a, n * n * sizeof *lu);
        ok = FN(lu)(lu, order, &sign, n);
    }
    for (size_t column = 0; ok && column < n; column++) {
        for (size_t i = 0; i < n; i++)
            unit[i] = i == column ? MAT_ONE : MAT_ZERO;
        FN(substitute)(lu, order, unit, out + column * n, n);
    }
    if (ok)
        FN(transpose)(out, n);
    free(lu);
    free(unit);
    free(order);
    return ok;
}

bool FN(power)(T *out, const T *a, size_t n, unsigned e)
{
    size_t bytes = n * n * sizeof *out;
    T *base = malloc(bytes), *spare = malloc(bytes);
    bool ok = base && spare;
    if (ok) {
        memcpy(base, a, bytes);
        FN(identity)(out, n);
    }
    for (; ok && e; e >>= 1) {
        if (e & 1) {
            FN(mul)(spare, out, base, n);
            memcpy(out, spare, bytes);
        }
        FN(mul_blocked)(spare, base, base, n);
        memcpy(base, spare, bytes);
    }
    free(base);
    free(spare);
    return ok;
}

size_t FN(rank)(const T *a, size_t rows, size_t columns)
{
    T *m = malloc(rows * columns * sizeof *m);
    size_t rank = 0;
    if (!m)
        abort();
    memcpy(m, a, rows * columns * sizeof *m);
    for (size_t c = 0; c < columns && rank < rows; c++) {
        size_t best = rank;
        for (size_t r = rank + 1; r < rows; r++)
            if (MAT_SIZE(m[r * columns + c]) > MAT_SIZE(m[best * columns + c]))
                best = r;
        if (MAT_SIZE(m[best * columns + c]) == 0)
            continue;
        for (size_t j = 0; j < columns; j++) {
            T t = m[rank * columns + j];
            m[rank * columns + j] = m[best * columns + j];
            m[best * columns + j] = t;
        }
        for (size_t r = rank + 1; r < rows; r++) {
            T f = MAT_DIV(m[r * columns + c], m[rank * columns + c]);
            for (size_t j = c; j < columns; j++)
                m[r * columns + j] =
                    MAT_SUB(m[r * columns + j], MAT_MUL(f, m[rank * columns + j]));
        }
        rank++;
    }
    free(m);
    return rank;
}

#undef DOT4
#undef ROW4
#undef DET2
#endif

#undef FN
#undef T
#ifndef MAT_DECLARE
#undef MAT_NAME
#undef MAT_TYPE
#undef MAT_ZERO
#undef MAT_ONE
#undef MAT_ADD
#undef MAT_SUB
#undef MAT_MUL
#undef MAT_DIV
#undef MAT_SIZE
#endif
