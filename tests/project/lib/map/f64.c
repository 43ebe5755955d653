/* Hash maps keyed by doubles, with three types of values. Doesn't know who uses them. */
#include "types.h"

#define MAP_NAME map_f64_i32
#define MAP_KEY f64
#define MAP_VALUE i32
#define MAP_HASH(k) hash_f64(k)
#define MAP_SAME(a, b) same_f64(a, b)
#include "map.h"

#define MAP_NAME map_f64_pair
#define MAP_KEY f64
#define MAP_VALUE pair
#define MAP_HASH(k) hash_f64(k)
#define MAP_SAME(a, b) same_f64(a, b)
#include "map.h"

#define MAP_NAME map_f64_str
#define MAP_KEY f64
#define MAP_VALUE str
#define MAP_HASH(k) hash_f64(k)
#define MAP_SAME(a, b) same_f64(a, b)
#include "map.h"
