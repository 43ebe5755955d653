/*
 * A template: checks one instance of tree.h. The includer gives the parameters of tree.h
 * and TREE_RANDOM(), and calls <TREE_NAME>_check. It doesn't know the type nor the order.
 */
#define TREE_DECLARE
#include "tree.h"

#define FN(suffix) PASTE(TREE_NAME, suffix)

static struct TREE_NAME *FN(grow)(size_t n)
{
    struct TREE_NAME *t = NULL;
    for (size_t i = 0; i < n; i++)
        t = FN(insert)(t, TREE_RANDOM());
    CHECK(FN(valid)(t));
    return t;
}

static void FN(check)(void)
{
    enum { MOST = 1000 };
    static TREE_KEY a[MOST], b[MOST], c[2 * MOST];
    struct TREE_NAME *ta = FN(grow)(MOST), *tb = FN(grow)(MOST / 2);
    size_t na = FN(list)(ta, a), nb = FN(list)(tb, b), both = 0;
    for (size_t i = 0; i < na; i++) {
        CHECK(i == 0 || TREE_LESS(a[i - 1], a[i]));
        CHECK(FN(find)(ta, a[i]) && FN(rank)(ta, a[i]) == i);
        CHECK(FN(nth)(ta, i) == FN(find)(ta, a[i]));
        both += FN(find)(tb, a[i]) != NULL;
    }
    for (size_t i = 0; i < nb; i++) {
        size_t place = FN(rank)(ta, b[i]);
        const struct TREE_NAME *up = FN(ceil)(ta, b[i]), *down = FN(floor)(ta, b[i]);
        CHECK(up == FN(nth)(ta, place));
        CHECK(FN(find)(ta, b[i]) ? up == down : down == (place ? FN(nth)(ta, place - 1) : NULL));
    }
    size_t n = FN(between)(ta, a[na / 4], a[na / 2], c, 50);
    CHECK(n == (na / 2 - na / 4 < 50 ? na / 2 - na / 4 : 50));

    /* union, intersection and difference, against what was counted above */
    struct TREE_NAME *u = NULL, *same = NULL;
    for (size_t i = 0; i < na; i++) {
        u = FN(insert)(u, a[i]);
        same = FN(insert)(same, a[na - 1 - i]);
    }
    u = FN(join_sets)(u, tb);
    CHECK(FN(valid)(u) && FN(list)(u, c) == na + nb - both);
    u = FN(minus)(u, ta);
    CHECK(FN(valid)(u) && FN(list)(u, c) == nb - both);
    for (size_t i = 0; i < nb; i++)
        u = FN(insert)(u, b[i]);
    u = FN(common)(u, same);
    CHECK(FN(valid)(u) && FN(list)(u, c) == both);
    for (size_t i = 0; i < both; i++) {
        u = FN(erase)(u, c[i]);
        CHECK(!FN(find)(u, c[i]));
    }
    CHECK(!u);
}

#undef FN
#undef TREE_DECLARE
#undef TREE_NAME
#undef TREE_KEY
#undef TREE_LESS
#undef TREE_RANDOM
