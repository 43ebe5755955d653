/*
 * A template: every include defines one ordered set as a join-based AVL tree.
 * It doesn't know the key type nor the order; the includer says:
 *   TREE_NAME  prefix and struct name    TREE_KEY  the type
 *   TREE_LESS(a, b)  a strict total order
 * Define TREE_DECLARE to get the struct and the prototypes only; the parameters then
 * stay defined for the includer's own use.
 * Running out of memory aborts: half a tree is no use to anybody.
 * No include guard: it is meant to be included several times.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

#include "paste.h"

#define FN(suffix) PASTE(TREE_NAME, suffix)
#define N struct TREE_NAME
#define K TREE_KEY

N {
    N *left, *right;
    size_t size;
    int height;
    K key;
};

N *FN(insert)(N *t, K key);
N *FN(erase)(N *t, K key);
const N *FN(find)(const N *t, K key);
const N *FN(floor)(const N *t, K key);
const N *FN(ceil)(const N *t, K key);
const N *FN(nth)(const N *t, size_t i);
size_t FN(rank)(const N *t, K key);
size_t FN(list)(const N *t, K *out);
size_t FN(between)(const N *t, K lo, K hi, K *out, size_t most);
N *FN(join_sets)(N *a, N *b);
N *FN(common)(N *a, N *b);
N *FN(minus)(N *a, N *b);
void FN(free)(N *t);
bool FN(valid)(const N *t);

#ifndef TREE_DECLARE

static inline int FN(height)(const N *t)
{
    return t ? t->height : 0;
}

static inline size_t FN(size)(const N *t)
{
    return t ? t->size : 0;
}

static inline N *FN(link)(N *left, N *t, N *right)
{
    int hl = FN(height)(left), hr = FN(height)(right);
    t->left = left;
    t->right = right;
    t->height = (hl > hr ? hl : hr) + 1;
    t->size = FN(size)(left) + FN(size)(right) + 1;
    return t;
}

static N *FN(rotate_left)(N *t)
{
    N *r = t->right;
    return FN(link)(FN(link)(t->left, t, r->left), r, r->right);
}

static N *FN(rotate_right)(N *t)
{
    N *l = t->left;
    return FN(link)(l->left, l, FN(link)(l->right, t, t->right));
}

static N *FN(balance)(N *t)
{
    int tilt = FN(height)(t->left) - FN(height)(t->right);
    if (tilt > 1) {
        if (FN(height)(t->left->left) < FN(height)(t->left->right))
            t->left = FN(rotate_left)(t->left);
        return FN(rotate_right)(t);
    }
    if (tilt < -1) {
        if (FN(height)(t->right->right) < FN(height)(t->right->left))
            t->right = FN(rotate_right)(t->right);
        return FN(rotate_left)(t);
    }
    return t;
}

/* Everything in left < t->key < everything in right; heights may differ at will. */
static N *FN(join)(N *left, N *t, N *right)
{
    if (FN(height)(left) > FN(height)(right) + 1)
        return FN(balance)(FN(link)(left->left, left, FN(join)(left->right, t, right)));
    if (FN(height)(right) > FN(height)(left) + 1)
        return FN(balance)(FN(link)(FN(join)(left, t, right->left), right, right->right));
    return FN(link)(left, t, right);
}

/* The node equal to key, if there is one, comes out alone. */
static N *FN(split)(N *t, K key, N **left, N **right)
{
    if (!t) {
        *left = *right = NULL;
        return NULL;
    }
    N *l = t->left, *r = t->right, *half, *hit = t;
    if (TREE_LESS(key, t->key)) {
        hit = FN(split)(l, key, left, &half);
        *right = FN(join)(half, t, r);
    } else if (TREE_LESS(t->key, key)) {
        hit = FN(split)(r, key, &half, right);
        *left = FN(join)(l, t, half);
    } else {
        *left = l;
        *right = r;
    }
    return hit;
}

static N *FN(take_last)(N *t, N **last)
{
    if (!t->right) {
        N *rest = t->left;
        *last = t;
        return rest;
    }
    N *right = FN(take_last)(t->right, last);
    return FN(balance)(FN(link)(t->left, t, right));
}

static N *FN(join2)(N *left, N *right)
{
    if (!left)
        return right;
    N *last;
    left = FN(take_last)(left, &last);
    return FN(join)(left, last, right);
}

N *FN(insert)(N *t, K key)
{
    if (!t) {
        N *fresh = calloc(1, sizeof *fresh);
        if (!fresh)
            abort();
        fresh->key = key;
        return FN(link)(NULL, fresh, NULL);
    }
    if (TREE_LESS(key, t->key))
        return FN(balance)(FN(link)(FN(insert)(t->left, key), t, t->right));
    if (TREE_LESS(t->key, key))
        return FN(balance)(FN(link)(t->left, t, FN(insert)(t->right, key)));
    return t;
}

N *FN(erase)(N *t, K key)
{
    N *left, *right;
    free(FN(split)(t, key, &left, &right));
    return FN(join2)(left, right);
}

const N *FN(find)(const N *t, K key)
{
    while (t) {
        if (TREE_LESS(key, t->key))
            t = t->left;
        else if (TREE_LESS(t->key, key))
            t = t->right;
        else
            break;
    }
    return t;
}

/* The greatest that isn't above key. */
const N *FN(floor)(const N *t, K key)
{
    const N *best = NULL;
    while (t) {
        if (TREE_LESS(key, t->key)) {
            t = t->left;
        } else {
            best = t;
            t = t->right;
        }
    }
    return best;
}

/* The smallest that isn't below key. */
const N *FN(ceil)(const N *t, K key)
{
    const N *best = NULL;
    while (t) {
        if (TREE_LESS(t->key, key)) {
            t = t->right;
        } else {
            best = t;
            t = t->left;
        }
    }
    return best;
}

const N *FN(nth)(const N *t, size_t i)
{
    while (t) {
        size_t left = FN(size)(t->left);
        if (i == left)
            break;
        if (i < left) {
            t = t->left;
        } else {
            i -= left + 1;
            t = t->right;
        }
    }
    return t;
}

size_t FN(rank)(const N *t, K key)
{
    size_t below = 0;
    while (t) {
        if (TREE_LESS(t->key, key)) {
            below += FN(size)(t->left) + 1;
            t = t->right;
        } else {
            t = t->left;
        }
    }
    return below;
}

size_t FN(list)(const N *t, K *out)
{
    if (!t)
        return 0;
    size_t n = FN(list)(t->left, out);
    out[n++] = t->key;
    return n + FN(list)(t->right, out + n);
}

/* Keys in [lo, hi), at most `most` of them, in order. */
size_t FN(between)(const N *t, K lo, K hi, K *out, size_t most)
{
    if (!t || most == 0)
        return 0;
    if (TREE_LESS(t->key, lo))
        return FN(between)(t->right, lo, hi, out, most);
    size_t n = FN(between)(t->left, lo, hi, out, most);
    if (TREE_LESS(t->key, hi)) {
        if (n < most)
            out[n++] = t->key;
        n += FN(between)(t->right, lo, hi, out + n, most - n);
    }
    return n;
}

/* The set operations consume both arguments. */
N *FN(join_sets)(N *a, N *b)
{
    if (!a)
        return b;
    if (!b)
        return a;
    N *left, *right, *al = a->left, *ar = a->right;
    free(FN(split)(b, a->key, &left, &right));
    left = FN(join_sets)(al, left);
    return FN(join)(left, a, FN(join_sets)(ar, right));
}

N *FN(common)(N *a, N *b)
{
    if (!a || !b) {
        FN(free)(a);
        FN(free)(b);
        return NULL;
    }
    N *left, *right, *al = a->left, *ar = a->right;
    N *hit = FN(split)(b, a->key, &left, &right);
    left = FN(common)(al, left);
    right = FN(common)(ar, right);
    if (hit) {
        free(hit);
        return FN(join)(left, a, right);
    }
    free(a);
    return FN(join2)(left, right);
}

N *FN(minus)(N *a, N *b)
{
    if (!a || !b) {
        FN(free)(b);
        return a;
    }
    N *left, *right, *bl = b->left, *br = b->right;
    free(FN(split)(a, b->key, &left, &right));
    free(b);
    left = FN(minus)(left, bl);
    return FN(join2)(left, FN(minus)(right, br));
}

void FN(free)(N *t)
{
    if (!t)
        return;
    FN(free)(t->left);
    FN(free)(t->right);
    free(t);
}

bool FN(valid)(const N *t)
{
    if (!t)
        return true;
    int tilt = FN(height)(t->left) - FN(height)(t->right);
    if (tilt < -1 || tilt > 1)
        return false;
    if (t->left && !TREE_LESS(t->left->key, t->key))
        return false;
    if (t->right && !TREE_LESS(t->key, t->right->key))
        return false;
    return t->size == FN(size)(t->left) + FN(size)(t->right) + 1 &&
           FN(valid)(t->left) && FN(valid)(t->right);
}

#endif

#undef FN
#undef N
#undef K
#ifndef TREE_DECLARE
#undef TREE_NAME
#undef TREE_KEY
#undef TREE_LESS
#endif
