/*
 * A template: every include defines one family of sorting functions.
 * It doesn't know the element type nor the order; the includer says both:
 *   SORT_NAME  prefix of the functions      SORT_TYPE  the element type
 *   SORT_LESS(a, b)  a strict weak order on two elements
 * Define SORT_DECLARE to get the prototypes only; the parameters then stay defined for
 * the includer's own use.
 * No include guard: it is meant to be included several times.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "paste.h"

#define FN(suffix) PASTE(SORT_NAME, suffix)
#define T SORT_TYPE
#define LESS SORT_LESS
#define SWAP(a, b) do { T swap_ = (a); (a) = (b); (b) = swap_; } while (0)
#define CSWAP(i, j) do { if (LESS(a[j], a[i])) SWAP(a[i], a[j]); } while (0)

bool FN(is_sorted)(const T *a, size_t n);
void FN(insertion)(T *a, size_t n);
void FN(shell)(T *a, size_t n);
void FN(heap)(T *a, size_t n);
bool FN(merge)(T *a, size_t n);
void FN(quick)(T *a, size_t n);
void FN(stable)(T *a, size_t n);
void FN(select)(T *a, size_t n, size_t k);
size_t FN(lower_bound)(const T *a, size_t n, T x);
size_t FN(unique)(T *a, size_t n);

#ifndef SORT_DECLARE

/* Optimal networks: branch-light leaves for the recursive sorts. */
static inline void FN(net4)(T *a)
{
    CSWAP(0, 1); CSWAP(2, 3); CSWAP(0, 2); CSWAP(1, 3); CSWAP(1, 2);
}

static inline void FN(net8)(T *a)
{
    CSWAP(0, 2); CSWAP(1, 3); CSWAP(4, 6); CSWAP(5, 7);
    CSWAP(0, 4); CSWAP(1, 5); CSWAP(2, 6); CSWAP(3, 7);
    CSWAP(0, 1); CSWAP(2, 3); CSWAP(4, 5); CSWAP(6, 7);
    CSWAP(2, 4); CSWAP(3, 5); CSWAP(1, 4); CSWAP(3, 6);
    CSWAP(1, 2); CSWAP(3, 4); CSWAP(5, 6);
}

bool FN(is_sorted)(const T *a, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (LESS(a[i], a[i - 1]))
            return false;
    return true;
}

void FN(insertion)(T *a, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        T x = a[i];
        size_t j = i;
        for (; j > 0 && LESS(x, a[j - 1]); j--)
            a[j] = a[j - 1];
        a[j] = x;
    }
}

void FN(shell)(T *a, size_t n)
{
    static const size_t gaps[] = {1750, 701, 301, 132, 57, 23, 10, 4, 1};
    for (size_t g = 0; g < sizeof gaps / sizeof *gaps; g++) {
        size_t gap = gaps[g];
        for (size_t i = gap; i < n; i++) {
            T x = a[i];
            size_t j = i;
            for (; j >= gap && LESS(x, a[j - gap]); j -= gap)
                a[j] = a[j - gap];
            a[j] = x;
        }
    }
}

static void FN(sift)(T *a, size_t root, size_t n)
{
    T x = a[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && LESS(a[child], a[child + 1]))
            child++;
        if (!LESS(x, a[child]))
            break;
        a[root] = a[child];
    }
    a[root] = x;
}

void FN(heap)(T *a, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        FN(sift)(a, i, n);
    for (size_t i = n; i-- > 1;) {
        SWAP(a[0], a[i]);
        FN(sift)(a, 0, i);
    }
}

static void FN(merge_into)(T *out, const T *a, size_t na, const T *b, size_t nb)
{
    size_t i = 0, j = 0, k = 0;
    while (i < na && j < nb) {
        if (LESS(b[j], a[i]))
            out[k++] = b[j++];
        else
            out[k++] = a[i++];
    }
    while (i < na)
        out[k++] = a[i++];
    while (j < nb)
        out[k++] = b[j++];
}

/* Bottom-up and stable: the runs come from insertion, not from the networks. */
bool FN(merge)(T *a, size_t n)
{
    enum { RUN = 12 };
    T *spare = malloc((n ? n : 1) * sizeof *spare);
    if (!spare)
        return false;
    for (size_t i = 0; i < n; i += RUN)
        FN(insertion)(a + i, n - i < RUN ? n - i : RUN);
    T *from = a, *to = spare;
    for (size_t width = RUN; width < n; width *= 2) {
        for (size_t lo = 0; lo < n; lo += 2 * width) {
            size_t na = n - lo < width ? n - lo : width;
            size_t nb = n - lo - na < width ? n - lo - na : width;
            FN(merge_into)(to + lo, from + lo, na, from + lo + na, nb);
        }
        T *t = from;
        from = to;
        to = t;
    }
    if (from != a)
        memcpy(a, from, n * sizeof *a);
    free(spare);
    return true;
}

/* Splits around a median of three; returns the first index of the right part. */
static size_t FN(partition)(T *a, size_t n)
{
    size_t mid = n / 2;
    CSWAP(0, mid); CSWAP(mid, n - 1); CSWAP(0, mid);
    T pivot = a[mid];
    size_t i = 0, j = n - 1;
    for (;;) {
        while (LESS(a[i], pivot))
            i++;
        while (LESS(pivot, a[j]))
            j--;
        if (i >= j)
            return j + 1;
        SWAP(a[i], a[j]);
        i++;
        j--;
    }
}

static void FN(intro)(T *a, size_t n, int depth)
{
    while (n > 16) {
        if (depth-- == 0) {
            FN(heap)(a, n);
            return;
        }
        size_t cut = FN(partition)(a, n);
        FN(intro)(a + cut, n - cut, depth);
        n = cut;
    }
    if (n == 4)
        FN(net4)(a);
    else if (n == 8)
        FN(net8)(a);
    else
        FN(insertion)(a, n);
}

void FN(quick)(T *a, size_t n)
{
    int depth = 2;
    for (size_t m = n; m > 1; m /= 2)
        depth += 2;
    FN(intro)(a, n, depth);
}

/* Puts the k-th smallest at a[k]; what is before it isn't greater. */
void FN(select)(T *a, size_t n, size_t k)
{
    while (n > 16) {
        size_t cut = FN(partition)(a, n);
        if (k < cut) {
            n = cut;
        } else {
            a += cut;
            n -= cut;
            k -= cut;
        }
    }
    FN(insertion)(a, n);
}

size_t FN(lower_bound)(const T *a, size_t n, T x)
{
    size_t lo = 0;
    while (n > 0) {
        size_t half = n / 2;
        if (LESS(a[lo + half], x)) {
            lo += half + 1;
            n -= half + 1;
        } else {
            n = half;
        }
    }
    return lo;
}

/* Drops equal neighbours; returns how many are left. */
size_t FN(unique)(T *a, size_t n)
{
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (k == 0 || LESS(a[k - 1], a[i]) || LESS(a[i], a[k - 1]))
            a[k++] = a[i];
    return k;
}

static void FN(reverse)(T *a, size_t n)
{
    for (size_t i = 0; i + 1 < n - i; i++)
        SWAP(a[i], a[n - 1 - i]);
}

/* Stable without spare memory: rotations instead of a buffer. */
static void FN(merge_in_place)(T *a, size_t mid, size_t n)
{
    if (mid == 0 || mid == n)
        return;
    if (n == 2) {
        CSWAP(0, 1);
        return;
    }
    size_t i, j;
    if (mid > n - mid) {
        i = mid / 2;
        j = mid + FN(lower_bound)(a + mid, n - mid, a[i]);
    } else {
        j = mid + (n - mid) / 2;
        for (i = 0; i < mid && !LESS(a[j], a[i]); i++)
            ;
    }
    FN(reverse)(a + i, mid - i);
    FN(reverse)(a + mid, j - mid);
    FN(reverse)(a + i, j - i);
    size_t cut = i + (j - mid);
    FN(merge_in_place)(a, i, cut);
    FN(merge_in_place)(a + cut, mid - i, n - cut);
}

void FN(stable)(T *a, size_t n)
{
    if (n <= 12) {
        FN(insertion)(a, n);
        return;
    }
    FN(stable)(a, n / 2);
    FN(stable)(a + n / 2, n - n / 2);
    FN(merge_in_place)(a, n / 2, n);
}

#endif

#undef FN
#undef T
#undef LESS
#undef SWAP
#undef CSWAP
#ifndef SORT_DECLARE
#undef SORT_NAME
#undef SORT_TYPE
#undef SORT_LESS
#endif
