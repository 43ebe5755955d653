/*
 * A template: every include defines searching and comparing of strings of one unit width.
 * It doesn't know encodings; the includer says:
 *   TEXT_NAME  prefix     TEXT_UNIT  an unsigned integer type
 * Define TEXT_DECLARE to get the prototypes only; the parameters then stay defined for the
 * includer's own use. Running out of memory aborts.
 * No include guard: it is meant to be included several times.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "paste.h"

#define FN(suffix) PASTE(TEXT_NAME, suffix)
#define U TEXT_UNIT

/* The searches return the number of places; the first `most` of them go to at[]. */
size_t FN(find_plain)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most);
size_t FN(find_kmp)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most);
size_t FN(find_bmh)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most);
size_t FN(find_z)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most);
size_t FN(find_sorted)(const U *s, size_t n, const size_t *sa, const U *p, size_t m);
void FN(suffixes)(const U *s, size_t n, size_t *sa);
void FN(prefixes)(const U *s, size_t n, const size_t *sa, size_t *lcp);
size_t FN(longest_repeat)(const U *s, size_t n, size_t *where);
size_t FN(longest_palindrome)(const U *s, size_t n, size_t *where);
size_t FN(least_rotation)(const U *s, size_t n);
size_t FN(distance)(const U *a, size_t n, const U *b, size_t m);
size_t FN(common)(const U *a, size_t n, const U *b, size_t m, U *out);

#ifndef TEXT_DECLARE

static void *FN(room)(size_t n, size_t size)
{
    void *p = calloc(n ? n : 1, size);
    if (!p)
        abort();
    return p;
}

size_t FN(find_plain)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most)
{
    size_t hits = 0;
    for (size_t i = 0; m && i + m <= n; i++) {
        size_t j = 0;
        while (j < m && s[i + j] == p[j])
            j++;
        if (j == m) {
            if (hits < most)
                at[hits] = i;
            hits++;
        }
    }
    return hits;
}

size_t FN(find_kmp)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most)
{
    size_t *back = FN(room)(m + 1, sizeof *back), hits = 0;
    for (size_t i = 1, k = 0; i < m; i++) {
        while (k && p[i] != p[k])
            k = back[k];
        k += p[i] == p[k];
        back[i + 1] = k;
    }
    for (size_t i = 0, k = 0; m && i < n; i++) {
        while (k && (k == m || s[i] != p[k]))
            k = back[k];
        k += s[i] == p[k];
        if (k == m) {
            if (hits < most)
                at[hits] = i + 1 - m;
            hits++;
        }
    }
    free(back);
    return hits;
}

/* Wide units share buckets by their low byte: the least shift of a bucket counts. */
size_t FN(find_bmh)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most)
{
    size_t shift[256], hits = 0;
    if (!m)
        return 0;
    for (size_t c = 0; c < 256; c++)
        shift[c] = m;
    for (size_t j = 0; j + 1 < m; j++)
        shift[p[j] & 255] = m - 1 - j;
    for (size_t i = 0; i + m <= n; i += shift[s[i + m - 1] & 255]) {
        size_t j = m;
        while (j && s[i + j - 1] == p[j - 1])
            j--;
        if (j == 0) {
            if (hits < most)
                at[hits] = i;
            hits++;
        }
    }
    return hits;
}

static void FN(z_lengths)(const U *s, size_t n, size_t *z)
{
    for (size_t i = 1, l = 0, r = 0; i < n; i++) {
        z[i] = i < r ? (z[i - l] < r - i ? z[i - l] : r - i) : 0;
        while (i + z[i] < n && s[z[i]] == s[i + z[i]])
            z[i]++;
        if (i + z[i] > r) {
            l = i;
            r = i + z[i];
        }
    }
}

size_t FN(find_z)(const U *s, size_t n, const U *p, size_t m, size_t *at, size_t most)
{
    U *both = FN(room)(n + m, sizeof *both);
    size_t *z = FN(room)(n + m, sizeof *z), hits = 0;
    memcpy(both, p, m * sizeof *both);
    memcpy(both + m, s, n * sizeof *both);
    FN(z_lengths)(both, n + m, z);
    for (size_t i = m; m && i < n + m; i++)
        if (z[i] >= m) {
            if (hits < most)
                at[hits] = i - m;
            hits++;
        }
    free(both);
    free(z);
    return hits;
}

/* Ranks by doubled prefixes; shell sort, as the order changes with every round. */
void FN(suffixes)(const U *s, size_t n, size_t *sa)
{
    size_t *rank = FN(room)(n, sizeof *rank), *fresh = FN(room)(n, sizeof *fresh);
    for (size_t i = 0; i < n; i++) {
        sa[i] = i;
        rank[i] = s[i];
    }
#define AFTER(i) ((i) + width < n ? rank[(i) + width] + 1 : 0)
#define BELOW(i, j) (rank[i] != rank[j] ? rank[i] < rank[j] : AFTER(i) < AFTER(j))
    for (size_t width = n; width == n || width < n; width = width == n ? 1 : 2 * width) {
        for (size_t gap = n / 2; gap; gap = gap == 2 ? 1 : gap * 5 / 11)
            for (size_t i = gap; i < n; i++) {
                size_t x = sa[i], j = i;
                for (; j >= gap && BELOW(x, sa[j - gap]); j -= gap)
                    sa[j] = sa[j - gap];
                sa[j] = x;
            }
        for (size_t i = 0; i < n; i++)
            fresh[sa[i]] = i ? fresh[sa[i - 1]] + BELOW(sa[i - 1], sa[i]) : 0;
        memcpy(rank, fresh, n * sizeof *rank);
        if (n < 2 || rank[sa[n - 1]] == n - 1)
            break;
    }
#undef AFTER
#undef BELOW
    free(rank);
    free(fresh);
}

/* lcp[i]: what the suffixes sa[i - 1] and sa[i] have in common (Kasai). */
void FN(prefixes)(const U *s, size_t n, const size_t *sa, size_t *lcp)
{
    size_t *place = FN(room)(n, sizeof *place), k = 0;
    for (size_t i = 0; i < n; i++)
        place[sa[i]] = i;
    for (size_t i = 0; i < n; i++) {
        if (place[i] == 0) {
            lcp[0] = k = 0;
            continue;
        }
        size_t j = sa[place[i] - 1];
        while (i + k < n && j + k < n && s[i + k] == s[j + k])
            k++;
        lcp[place[i]] = k;
        k -= k > 0;
    }
    free(place);
}

static int FN(against)(const U *s, size_t n, const U *p, size_t m)
{
    for (size_t i = 0; i < m; i++) {
        if (i == n || s[i] < p[i])
            return -1;
        if (s[i] > p[i])
            return 1;
    }
    return 0;
}

size_t FN(find_sorted)(const U *s, size_t n, const size_t *sa, const U *p, size_t m)
{
    size_t bound[2];
    for (int upper = 0; upper < 2; upper++) {
        size_t lo = 0, hi = n;
        while (lo < hi) {
            size_t mid = lo + (hi - lo) / 2;
            int c = FN(against)(s + sa[mid], n - sa[mid], p, m);
            if (c < upper)
                lo = mid + 1;
            else
                hi = mid;
        }
        bound[upper] = lo;
    }
    return bound[1] - bound[0];
}

size_t FN(longest_repeat)(const U *s, size_t n, size_t *where)
{
    size_t *sa = FN(room)(n, sizeof *sa), *lcp = FN(room)(n, sizeof *lcp), best = 0;
    FN(suffixes)(s, n, sa);
    FN(prefixes)(s, n, sa, lcp);
    *where = 0;
    for (size_t i = 1; i < n; i++)
        if (lcp[i] > best) {
            best = lcp[i];
            *where = sa[i];
        }
    free(sa);
    free(lcp);
    return best;
}

/* Manacher, odd and even centres in one loop over the gaps. */
size_t FN(longest_palindrome)(const U *s, size_t n, size_t *where)
{
    size_t *radius = FN(room)(2 * n + 1, sizeof *radius), best = 0;
    *where = 0;
    for (size_t i = 0, centre = 0, right = 0; i <= 2 * n; i++) {
        size_t r = 0;
        if (i < right) {
            size_t mirror = radius[2 * centre - i];
            r = mirror < right - i ? mirror : right - i;
        }
        while (r < i && i + r < 2 * n &&
               (((i + r + 1) & 1) == 0 || s[(i - r - 1) / 2] == s[(i + r) / 2]))
            r++;
        radius[i] = r;
        if (i + r > right) {
            centre = i;
            right = i + r;
        }
        if (r > best) {
            best = r;
            *where = (i - r) / 2;
        }
    }
    free(radius);
    return best;
}

/* Booth's two pointers. */
size_t FN(least_rotation)(const U *s, size_t n)
{
    size_t i = 0, j = 1, k = 0;
    while (i < n && j < n && k < n) {
        U a = s[(i + k) % n], b = s[(j + k) % n];
        if (a == b) {
            k++;
            continue;
        }
        if (a > b)
            i += k + 1;
        else
            j += k + 1;
        j += i == j;
        k = 0;
    }
    return i < j ? i : j;
}

size_t FN(distance)(const U *a, size_t n, const U *b, size_t m)
{
    size_t *row = FN(room)(m + 1, sizeof *row);
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (corner + 1 < best)
                best = corner + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    size_t d = row[m];
    free(row);
    return d;
}

/* A longest common subsequence; out has room for the shorter of the two. */
size_t FN(common)(const U *a, size_t n, const U *b, size_t m, U *out)
{
    size_t *len = FN(room)((n + 1) * (m + 1), sizeof *len), w = m + 1, k = 0;
    for (size_t i = n; i-- > 0;)
        for (size_t j = m; j-- > 0;) {
            size_t down = len[(i + 1) * w + j], right = len[i * w + j + 1];
            len[i * w + j] = a[i] == b[j] ? len[(i + 1) * w + j + 1] + 1
                                          : (down > right ? down : right);
        }
    for (size_t i = 0, j = 0; i < n && j < m;) {
        if (a[i] == b[j]) {
            out[k++] = a[i++];
            j++;
        } else if (len[(i + 1) * w + j] >= len[i * w + j + 1]) {
            i++;
        } else {
            j++;
        }
    }
    free(len);
    return k;
}

#endif

#undef FN
#undef U
#ifndef TEXT_DECLARE
#undef TEXT_NAME
#undef TEXT_UNIT
#endif
