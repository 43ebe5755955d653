/*
 * A template: checks one instance of sort.h. The includer gives the parameters of sort.h
 * and SORT_RANDOM(), and calls <SORT_NAME>_check. It doesn't know the type nor the order.
 */
#define SORT_DECLARE
#include "sort.h"

#define FN(suffix) PASTE(SORT_NAME, suffix)
#define T SORT_TYPE

static uint64_t FN(sum)(const T *a, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += hash_bytes(&a[i], sizeof a[i]);
    return sum;
}

static void FN(check)(void)
{
    enum { MOST = 3000 };
    static T input[MOST], a[MOST];
    static const size_t sizes[] = {0, 1, 2, 3, 4, 8, 13, 100, 1000, MOST};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        size_t n = sizes[s];
        for (size_t i = 0; i < n; i++)
            input[i] = SORT_RANDOM();
        uint64_t sum = FN(sum)(input, n);
#define TRY(sort)                                   \
    do {                                            \
        memcpy(a, input, n * sizeof *a);            \
        sort;                                       \
        CHECK(FN(is_sorted)(a, n));                 \
        CHECK(FN(sum)(a, n) == sum);                \
    } while (0)
        TRY(FN(insertion)(a, n));
        TRY(FN(shell)(a, n));
        TRY(FN(heap)(a, n));
        TRY(FN(stable)(a, n));
        TRY(CHECK(FN(merge)(a, n)));
        TRY(FN(quick)(a, n));
#undef TRY
        if (n == 0)
            continue;
        T middle = a[n / 2];
        size_t place = FN(lower_bound)(a, n, middle);
        CHECK(place <= n / 2 && !SORT_LESS(a[place], middle));
        CHECK(place == 0 || SORT_LESS(a[place - 1], middle));
        FN(select)(input, n, n / 2);
        CHECK(!SORT_LESS(input[n / 2], middle) && !SORT_LESS(middle, input[n / 2]));
        size_t kept = FN(unique)(a, n);
        for (size_t i = 1; i < kept; i++)
            CHECK(SORT_LESS(a[i - 1], a[i]));
    }
}

#undef FN
#undef T
#undef SORT_DECLARE
#undef SORT_NAME
#undef SORT_TYPE
#undef SORT_LESS
#undef SORT_RANDOM
