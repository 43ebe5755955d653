/*
 * A template: checks one instance of map.h against a plain list. The includer gives
 * MAP_NAME, MAP_KEY, MAP_VALUE, MAP_SAME, MAP_KEY_RANDOM() and MAP_VALUE_RANDOM(), and
 * calls <MAP_NAME>_check. It doesn't know the types.
 */
#define MAP_DECLARE
#include "map.h"

#define FN(suffix) PASTE(MAP_NAME, suffix)

static void FN(check)(void)
{
    enum { MOST = 400 };
    static MAP_KEY keys[MOST];
    static MAP_VALUE values[MOST];
    size_t n = 0;
    struct MAP_NAME m = {0}, other = {0};
    for (int step = 0; step < 4000; step++) {
        MAP_KEY key = n && step % 2 ? keys[random_bits() % n] : MAP_KEY_RANDOM();
        size_t i = 0;
        while (i < n && !MAP_SAME(keys[i], key))
            i++;
        MAP_VALUE *value = FN(get)(&m, key);
        CHECK(!value == (i == n));
        CHECK(!value || !memcmp(value, &values[i], sizeof *value));
        if (random_bits() % 5 < 2 || n == MOST) {
            CHECK(FN(del)(&m, key) == (i < n));
            if (i < n) {
                keys[i] = keys[--n];
                values[i] = values[n];
            }
        } else {
            values[i] = MAP_VALUE_RANDOM();
            keys[i] = key;
            n += i == n;
            CHECK(FN(put)(&m, key, values[i]));
        }
        CHECK(m.used == n);
    }
    CHECK(FN(valid)(&m));
    CHECK(FN(worst)(&m) < 60);
    for (size_t i = 0; i < n; i += 2)
        CHECK(FN(put)(&other, keys[i], values[i]));
    CHECK(FN(common)(&m, &other) == (n + 1) / 2);
    CHECK(FN(subtract)(&m, &other) && FN(valid)(&m) && m.used == n / 2);
    CHECK(FN(common)(&m, &other) == 0);
    CHECK(FN(merge)(&other, &m) && FN(valid)(&other) && other.used == n);
    FN(free)(&m);
    FN(free)(&other);
}

#undef FN
#undef MAP_DECLARE
#undef MAP_NAME
#undef MAP_KEY
#undef MAP_VALUE
#undef MAP_SAME
#undef MAP_KEY_RANDOM
#undef MAP_VALUE_RANDOM
