/*
 * A template: every include defines one robin hood hash map.
 * It doesn't know the types, the hash or the equality; the includer says:
 *   MAP_NAME  prefix and struct name     MAP_KEY, MAP_VALUE  the types
 *   MAP_HASH(k)  a 64-bit hash           MAP_SAME(a, b)  equality of keys
 * Define MAP_DECLARE to get the struct and the prototypes only; the parameters then
 * stay defined for the includer's own use.
 * No include guard: it is meant to be included several times.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "paste.h"

#define FN(suffix) PASTE(MAP_NAME, suffix)
#define M struct MAP_NAME
#define SLOT struct FN(slot)
#define K MAP_KEY
#define V MAP_VALUE

/* dist is the distance from home plus one; 0 says empty. */
SLOT {
    uint32_t dist;
    K key;
    V value;
};

M {
    SLOT *slots;
    size_t mask, used;
};

void FN(free)(M *m);
bool FN(put)(M *m, K key, V value);
V *FN(get)(const M *m, K key);
bool FN(del)(M *m, K key);
bool FN(next)(const M *m, size_t *at, K *key, V *value);
bool FN(merge)(M *into, const M *from);
size_t FN(common)(const M *a, const M *b);
bool FN(subtract)(M *from, const M *what);
size_t FN(worst)(const M *m);
bool FN(valid)(const M *m);

#ifndef MAP_DECLARE

static inline size_t FN(home)(const M *m, K key)
{
    return (size_t)(MAP_HASH(key)) & m->mask;
}

void FN(free)(M *m)
{
    free(m->slots);
    *m = (M){0};
}

/* Richer entries give way to poorer ones, so look-ups can stop early. */
static void FN(place)(M *m, K key, V value)
{
    SLOT carry = {1, key, value};
    for (size_t i = FN(home)(m, key);; i = (i + 1) & m->mask, carry.dist++) {
        SLOT *s = &m->slots[i];
        if (s->dist == 0) {
            *s = carry;
            m->used++;
            return;
        }
        if (s->dist < carry.dist) {
            SLOT t = *s;
            *s = carry;
            carry = t;
        }
    }
}

static bool FN(resize)(M *m, size_t size)
{
    M bigger = {calloc(size, sizeof(SLOT)), size - 1, 0};
    if (!bigger.slots)
        return false;
    if (m->slots)
        for (size_t i = 0; i <= m->mask; i++)
            if (m->slots[i].dist)
                FN(place)(&bigger, m->slots[i].key, m->slots[i].value);
    free(m->slots);
    *m = bigger;
    return true;
}

static SLOT *FN(find)(const M *m, K key)
{
    if (!m->slots)
        return NULL;
    uint32_t dist = 1;
    for (size_t i = FN(home)(m, key);; i = (i + 1) & m->mask, dist++) {
        SLOT *s = &m->slots[i];
        if (s->dist < dist)
            return NULL;
        if (s->dist == dist && MAP_SAME(s->key, key))
            return s;
    }
}

V *FN(get)(const M *m, K key)
{
    SLOT *s = FN(find)(m, key);
    return s ? &s->value : NULL;
}

bool FN(put)(M *m, K key, V value)
{
    SLOT *s = FN(find)(m, key);
    if (s) {
        s->value = value;
        return true;
    }
    if (!m->slots ? !FN(resize)(m, 16)
                  : m->used * 8 >= (m->mask + 1) * 7 && !FN(resize)(m, 2 * (m->mask + 1)))
        return false;
    FN(place)(m, key, value);
    return true;
}

/* Shifts the followers back by one: no tombstones to sweep later. */
bool FN(del)(M *m, K key)
{
    SLOT *s = FN(find)(m, key);
    if (!s)
        return false;
    size_t i = (size_t)(s - m->slots);
    for (;;) {
        size_t j = (i + 1) & m->mask;
        if (m->slots[j].dist <= 1)
            break;
        m->slots[i] = m->slots[j];
        m->slots[i].dist--;
        i = j;
    }
    m->slots[i].dist = 0;
    m->used--;
    return true;
}

bool FN(next)(const M *m, size_t *at, K *key, V *value)
{
    for (; m->slots && *at <= m->mask; ++*at) {
        const SLOT *s = &m->slots[*at];
        if (s->dist) {
            *key = s->key;
            *value = s->value;
            ++*at;
            return true;
        }
    }
    return false;
}

bool FN(merge)(M *into, const M *from)
{
    size_t at = 0;
    K key;
    V value;
    while (FN(next)(from, &at, &key, &value))
        if (!FN(put)(into, key, value))
            return false;
    return true;
}

size_t FN(common)(const M *a, const M *b)
{
    size_t at = 0, n = 0;
    K key;
    V value;
    if (a->used > b->used)
        return FN(common)(b, a);
    while (FN(next)(a, &at, &key, &value))
        n += FN(find)(b, key) != NULL;
    return n;
}

/* Shrinks too, so a map that was large once doesn't stay slow to walk. */
bool FN(subtract)(M *from, const M *what)
{
    size_t at = 0;
    K key;
    V value;
    while (FN(next)(what, &at, &key, &value))
        FN(del)(from, key);
    size_t size = from->mask + 1;
    while (size > 16 && from->used * 4 < size)
        size /= 2;
    return !from->slots || size == from->mask + 1 || FN(resize)(from, size);
}

size_t FN(worst)(const M *m)
{
    size_t worst = 0;
    for (size_t i = 0; m->slots && i <= m->mask; i++)
        if (m->slots[i].dist > worst)
            worst = m->slots[i].dist;
    return worst;
}

bool FN(valid)(const M *m)
{
    size_t used = 0;
    for (size_t i = 0; m->slots && i <= m->mask; i++) {
        const SLOT *s = &m->slots[i];
        if (!s->dist)
            continue;
        used++;
        if (((FN(home)(m, s->key) + s->dist - 1) & m->mask) != i)
            return false;
        if (m->slots[(i + 1) & m->mask].dist > s->dist + 1)
            return false;
    }
    return used == m->used;
}

#endif

#undef FN
#undef M
#undef SLOT
#undef K
#undef V
#ifndef MAP_DECLARE
#undef MAP_NAME
#undef MAP_KEY
#undef MAP_VALUE
#undef MAP_HASH
#undef MAP_SAME
#endif
