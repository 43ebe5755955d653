/*
 * What the self-checking programs share: a failing check says where and ends the program;
 * random values of every element type. Doesn't know what is checked.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "types.h"

#define CHECK(what)                                                            \
    do {                                                                       \
        if (!(what)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            exit(1);                                                           \
        }                                                                      \
    } while (0)

/* The same numbers in each run, so that a failure comes back. */
static inline uint64_t random_bits(void)
{
    static uint64_t state = 20240229;
    state += 0x9e3779b97f4a7c15u;
    return hash_u64(state);
}

/* Few enough values that equal ones meet often. */
static inline i32 random_i32(void) { return (i32)(random_bits() % 3000) - 1500; }
static inline u64 random_u64(void) { return random_bits() % 3000 << 40; }
static inline f64 random_f64(void) { return (f64)(random_bits() % 3000) / 7 - 200; }
static inline pair random_pair(void) { return (pair){random_i32() / 50, random_i32() / 50}; }

static inline record random_record(void)
{
    record r = {{0}, (uint32_t)(random_bits() % 60)};
    snprintf(r.name, sizeof r.name, "name%u", (unsigned)(random_bits() % 60));
    return r;
}

static inline str random_str(void)
{
    static char words[3000][8];
    size_t i = random_bits() % 3000;
    if (!words[i][0])
        snprintf(words[i], sizeof words[i], "w%zu", i);
    return words[i];
}

#endif
