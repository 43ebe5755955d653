/*
 * The element types that the templates are instantiated for, with their orders and hashes.
 * It doesn't know any template.
 */
#ifndef TYPES_H
#define TYPES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef int32_t i32;
typedef uint64_t u64;
typedef double f64;
typedef const char *str;
typedef struct pair { int32_t major, minor; } pair;
typedef struct record { char name[12]; uint32_t id; } record;

static inline bool less_i32(i32 a, i32 b) { return a < b; }
static inline bool less_u64(u64 a, u64 b) { return a < b; }
static inline bool less_f64(f64 a, f64 b) { return a < b; }
static inline bool less_str(str a, str b) { return strcmp(a, b) < 0; }

static inline bool less_pair(pair a, pair b)
{
    return a.major != b.major ? a.major < b.major : a.minor < b.minor;
}

static inline bool less_record(record a, record b)
{
    int c = memcmp(a.name, b.name, sizeof a.name);
    return c ? c < 0 : a.id < b.id;
}

/* Second orders, each total, so that one type can be sorted in unlike ways. */
static inline bool other_i32(i32 a, i32 b)
{
    return ((a ^ b) & 1) ? (a & 1) : a < b;
}

static inline bool other_u64(u64 a, u64 b)
{
    return ((a ^ b) & 1) ? (a & 1) : a < b;
}

static inline bool other_f64(f64 a, f64 b)
{
    f64 fa = a - (f64)(int64_t)a, fb = b - (f64)(int64_t)b;
    return fa != fb ? fa < fb : a < b;
}

static inline bool other_str(str a, str b)
{
    size_t na = strlen(a), nb = strlen(b);
    return na != nb ? na < nb : strcmp(a, b) < 0;
}

static inline bool other_pair(pair a, pair b)
{
    return a.minor != b.minor ? a.minor < b.minor : a.major < b.major;
}

static inline bool other_record(record a, record b)
{
    return a.id != b.id ? a.id < b.id : memcmp(a.name, b.name, sizeof a.name) < 0;
}

static inline uint64_t hash_u64(u64 x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static inline uint64_t hash_bytes(const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ p[i]) * 0x100000001b3u;
    return hash_u64(h);
}

static inline uint64_t hash_f64(f64 x)
{
    uint64_t bits;
    x += 0.0; /* -0.0 equals 0.0, so it must hash as 0.0 */
    memcpy(&bits, &x, sizeof bits);
    return hash_u64(bits);
}

static inline uint64_t hash_i32(i32 x) { return hash_u64((uint32_t)x); }
static inline uint64_t hash_str(str s) { return hash_bytes(s, strlen(s)); }
static inline uint64_t hash_pair(pair p) { return hash_bytes(&p, sizeof p); }
static inline uint64_t hash_record(record r) { return hash_bytes(&r, sizeof r); }

static inline bool same_i32(i32 a, i32 b) { return a == b; }
static inline bool same_u64(u64 a, u64 b) { return a == b; }
static inline bool same_f64(f64 a, f64 b) { return a == b; }
static inline bool same_str(str a, str b) { return strcmp(a, b) == 0; }
static inline bool same_pair(pair a, pair b) { return !memcmp(&a, &b, sizeof a); }
static inline bool same_record(record a, record b) { return !memcmp(&a, &b, sizeof a); }

#endif
