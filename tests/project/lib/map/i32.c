/* Hash maps keyed by 32-bit integers, with three types of values. Doesn't know who uses them. */
#include "types.h"

#define MAP_NAME map_i32_i32
#define MAP_KEY i32
#define MAP_VALUE i32
#define MAP_HASH(k) hash_i32(k)
#define MAP_SAME(a, b) same_i32(a, b)
#include "map.h"

#define MAP_NAME map_i32_pair
#define MAP_KEY i32
#define MAP_VALUE pair
#define MAP_HASH(k) hash_i32(k)
#define MAP_SAME(a, b) same_i32(a, b)
#include "map.h"

#define MAP_NAME map_i32_str
#define MAP_KEY i32
#define MAP_VALUE str
#define MAP_HASH(k) hash_i32(k)
#define MAP_SAME(a, b) same_i32(a, b)
#include "map.h"
