/* Hash maps keyed by C strings, with three types of values. Doesn't know who uses them. */
#include "types.h"

#define MAP_NAME map_str_i32
#define MAP_KEY str
#define MAP_VALUE i32
#define MAP_HASH(k) hash_str(k)
#define MAP_SAME(a, b) same_str(a, b)
#include "map.h"

#define MAP_NAME map_str_pair
#define MAP_KEY str
#define MAP_VALUE pair
#define MAP_HASH(k) hash_str(k)
#define MAP_SAME(a, b) same_str(a, b)
#include "map.h"

#define MAP_NAME map_str_str
#define MAP_KEY str
#define MAP_VALUE str
#define MAP_HASH(k) hash_str(k)
#define MAP_SAME(a, b) same_str(a, b)
#include "map.h"
