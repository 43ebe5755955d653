/* Hash maps keyed by pairs of integers, with three types of values. Doesn't know who uses them. */
#include "types.h"

#define MAP_NAME map_pair_i32
#define MAP_KEY pair
#define MAP_VALUE i32
#define MAP_HASH(k) hash_pair(k)
#define MAP_SAME(a, b) same_pair(a, b)
#include "map.h"

#define MAP_NAME map_pair_pair
#define MAP_KEY pair
#define MAP_VALUE pair
#define MAP_HASH(k) hash_pair(k)
#define MAP_SAME(a, b) same_pair(a, b)
#include "map.h"

#define MAP_NAME map_pair_str
#define MAP_KEY pair
#define MAP_VALUE str
#define MAP_HASH(k) hash_pair(k)
#define MAP_SAME(a, b) same_pair(a, b)
#include "map.h"
