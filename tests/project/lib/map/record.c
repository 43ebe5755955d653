/* Hash maps keyed by named records, with three types of values. Doesn't know who uses them. */
#include "types.h"

#define MAP_NAME map_record_i32
#define MAP_KEY record
#define MAP_VALUE i32
#define MAP_HASH(k) hash_record(k)
#define MAP_SAME(a, b) same_record(a, b)
#include "map.h"

#define MAP_NAME map_record_pair
#define MAP_KEY record
#define MAP_VALUE pair
#define MAP_HASH(k) hash_record(k)
#define MAP_SAME(a, b) same_record(a, b)
#include "map.h"

#define MAP_NAME map_record_str
#define MAP_KEY record
#define MAP_VALUE str
#define MAP_HASH(k) hash_record(k)
#define MAP_SAME(a, b) same_record(a, b)
#include "map.h"
