/*
 * A small regular expression matcher: a set of states that walks over the text, so its
 * time is pattern times text and never more. Doesn't know captures nor wide characters.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "parse.h"

enum { STATES = 512 };
enum op { SET, SPLIT, BOL, EOL, MATCH };

struct state {
    enum op op;
    uint32_t set[8];
    int next, other;
};

struct program {
    struct state state[STATES];
    int used;
    const char *at;
    bool bad;
};

/* A piece of the machine: where it starts, and the list of its loose ends, chained
 * through the unset links: 2 * state for next, plus 1 for other; -1 ends the list. */
struct piece {
    int start, loose;
};

static int add(struct program *p, enum op op, int next, int other)
{
    if (p->used == STATES) {
        p->bad = true;
        return 0;
    }
    p->state[p->used] = (struct state){op, {0}, next, other};
    return p->used++;
}

static int *link_of(struct program *p, int loose)
{
    return loose & 1 ? &p->state[loose / 2].other : &p->state[loose / 2].next;
}

static void patch(struct program *p, int loose, int target)
{
    while (loose >= 0) {
        int *link = link_of(p, loose);
        loose = *link;
        *link = target;
    }
}

static int append(struct program *p, int a, int b)
{
    int last = a;
    if (a < 0)
        return b;
    while (*link_of(p, last) >= 0)
        last = *link_of(p, last);
    *link_of(p, last) = b;
    return a;
}

static void set_add(struct state *s, unsigned char c)
{
    s->set[c / 32] |= 1u << c % 32;
}

static void read_class(struct program *p, struct state *s)
{
    bool negate = *p->at == '^';
    p->at += negate;
    for (bool first = true; *p->at && (*p->at != ']' || first); first = false) {
        unsigned char lo = (unsigned char)*p->at++, hi = lo;
        if (p->at[0] == '-' && p->at[1] && p->at[1] != ']') {
            hi = (unsigned char)p->at[1];
            p->at += 2;
        }
        for (int c = lo; c <= hi; c++)
            set_add(s, (unsigned char)c);
    }
    p->bad |= *p->at != ']';
    p->at += *p->at == ']';
    for (int i = 0; negate && i < 8; i++)
        s->set[i] = ~s->set[i];
}

static struct piece read_alternatives(struct program *p);

static struct piece read_atom(struct program *p)
{
    char c = *p->at++;
    if (c == '(') {
        struct piece inner = read_alternatives(p);
        p->bad |= *p->at != ')';
        p->at += *p->at == ')';
        return inner;
    }
    int s = add(p, c == '^' ? BOL : c == '$' ? EOL : SET, -1, -1);
    struct state *state = &p->state[s];
    if (c == '.')
        memset(state->set, 0xff, sizeof state->set);
    else if (c == '[')
        read_class(p, state);
    else if (c == '\\' && *p->at)
        set_add(state, (unsigned char)*p->at++);
    else if (c == '\\' || c == '*' || c == '+' || c == '?')
        p->bad = true;
    else
        set_add(state, (unsigned char)c);
    return (struct piece){s, 2 * s};
}

static struct piece read_repeat(struct program *p)
{
    struct piece a = read_atom(p);
    while (!p->bad && (*p->at == '*' || *p->at == '+' || *p->at == '?')) {
        char c = *p->at++;
        int split = add(p, SPLIT, a.start, -1);
        if (c == '?') {
            a = (struct piece){split, append(p, a.loose, 2 * split + 1)};
        } else {
            patch(p, a.loose, split);
            a = (struct piece){c == '*' ? split : a.start, 2 * split + 1};
        }
    }
    return a;
}

static struct piece read_sequence(struct program *p)
{
    struct piece all = {-1, -1};
    while (!p->bad && *p->at && *p->at != '|' && *p->at != ')') {
        struct piece a = read_repeat(p);
        if (p->bad)
            break;
        if (all.start < 0) {
            all = a;
        } else {
            patch(p, all.loose, a.start);
            all.loose = a.loose;
        }
    }
    if (all.start < 0) {
        int empty = add(p, SPLIT, -1, -1);
        all = (struct piece){empty, append(p, 2 * empty, 2 * empty + 1)};
    }
    return all;
}

static struct piece read_alternatives(struct program *p)
{
    struct piece a = read_sequence(p);
    while (!p->bad && *p->at == '|') {
        p->at++;
        struct piece b = read_sequence(p);
        int split = add(p, SPLIT, a.start, b.start);
        a = (struct piece){split, append(p, a.loose, b.loose)};
    }
    return a;
}

struct crowd {
    int n, at[STATES];
    bool in[STATES];
};

static void enter(const struct program *p, struct crowd *c, int s, bool first, bool last)
{
    if (c->in[s])
        return;
    c->in[s] = true;
    const struct state *state = &p->state[s];
    switch (state->op) {
    case SPLIT:
        enter(p, c, state->next, first, last);
        enter(p, c, state->other, first, last);
        break;
    case BOL:
        if (first)
            enter(p, c, state->next, first, last);
        break;
    case EOL:
        if (last)
            enter(p, c, state->next, first, last);
        break;
    case SET:
    case MATCH:
        c->at[c->n++] = s;
        break;
    }
}

/* The longest match from one place on, or SIZE_MAX. */
static size_t match_at(const struct program *p, int start, const char *text, size_t at)
{
    struct crowd crowds[2];
    struct crowd *now = &crowds[0], *then = &crowds[1];
    size_t best = SIZE_MAX;
    memset(now, 0, sizeof *now);
    enter(p, now, start, at == 0, text[at] == 0);
    for (size_t i = at;; i++) {
        unsigned char c = (unsigned char)text[i];
        memset(then, 0, sizeof *then);
        for (int k = 0; k < now->n; k++) {
            const struct state *state = &p->state[now->at[k]];
            if (state->op == MATCH)
                best = i;
            else if (c && state->set[c / 32] >> c % 32 & 1)
                enter(p, then, state->next, false, text[i + 1] == 0);
        }
        if (!c || then->n == 0)
            return best;
        struct crowd *t = now;
        now = then;
        then = t;
    }
}

bool regex_search(const char *pattern, const char *text, size_t *start, size_t *end)
{
    struct program *p = calloc(1, sizeof *p);
    bool found = false;
    if (!p)
        return false;
    p->at = pattern;
    struct piece all = read_alternatives(p);
    if (!p->bad && !*p->at) {
        patch(p, all.loose, add(p, MATCH, -1, -1));
        size_t n = strlen(text);
        for (size_t i = 0; !p->bad && !found && i <= n; i++) {
            size_t e = match_at(p, all.start, text, i);
            if (e != SIZE_MAX) {
                *start = i;
                *end = e;
                found = true;
            }
        }
    }
    free(p);
    return found;
}
