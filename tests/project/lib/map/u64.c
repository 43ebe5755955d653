/* Hash maps keyed by 64-bit unsigned integers, with three types of values. Doesn't know who uses them. */
#include "types.h"

#define MAP_NAME map_u64_i32
#define MAP_KEY u64
#define MAP_VALUE i32
#define MAP_HASH(k) hash_u64(k)
#define MAP_SAME(a, b) same_u64(a, b)
#include "map.h"

#define MAP_NAME map_u64_pair
#define MAP_KEY u64
#define MAP_VALUE pair
#define MAP_HASH(k) hash_u64(k)
#define MAP_SAME(a, b) same_u64(a, b)
#include "map.h"

#define MAP_NAME map_u64_str
#define MAP_KEY u64
#define MAP_VALUE str
#define MAP_HASH(k) hash_u64(k)
#define MAP_SAME(a, b) same_u64(a, b)
#include "map.h"
