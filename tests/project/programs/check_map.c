/* Runs every hash map against a plain list. Doesn't know how they work. */
#include "check.h"

#define MAP_NAME map_i32_i32
#define MAP_KEY i32
#define MAP_VALUE i32
#define MAP_SAME(a, b) same_i32(a, b)
#define MAP_KEY_RANDOM() random_i32()
#define MAP_VALUE_RANDOM() random_i32()
#include "check_map.h"

#define MAP_NAME map_i32_pair
#define MAP_KEY i32
#define MAP_VALUE pair
#define MAP_SAME(a, b) same_i32(a, b)
#define MAP_KEY_RANDOM() random_i32()
#define MAP_VALUE_RANDOM() random_pair()
#include "check_map.h"

#define MAP_NAME map_i32_str
#define MAP_KEY i32
#define MAP_VALUE str
#define MAP_SAME(a, b) same_i32(a, b)
#define MAP_KEY_RANDOM() random_i32()
#define MAP_VALUE_RANDOM() random_str()
#include "check_map.h"

#define MAP_NAME map_u64_i32
#define MAP_KEY u64
#define MAP_VALUE i32
#define MAP_SAME(a, b) same_u64(a, b)
#define MAP_KEY_RANDOM() random_u64()
#define MAP_VALUE_RANDOM() random_i32()
#include "check_map.h"

#define MAP_NAME map_u64_pair
#define MAP_KEY u64
#define MAP_VALUE pair
#define MAP_SAME(a, b) same_u64(a, b)
#define MAP_KEY_RANDOM() random_u64()
#define MAP_VALUE_RANDOM() random_pair()
#include "check_map.h"

#define MAP_NAME map_u64_str
#define MAP_KEY u64
#define MAP_VALUE str
#define MAP_SAME(a, b) same_u64(a, b)
#define MAP_KEY_RANDOM() random_u64()
#define MAP_VALUE_RANDOM() random_str()
#include "check_map.h"

#define MAP_NAME map_f64_i32
#define MAP_KEY f64
#define MAP_VALUE i32
#define MAP_SAME(a, b) same_f64(a, b)
#define MAP_KEY_RANDOM() random_f64()
#define MAP_VALUE_RANDOM() random_i32()
#include "check_map.h"

#define MAP_NAME map_f64_pair
#define MAP_KEY f64
#define MAP_VALUE pair
#define MAP_SAME(a, b) same_f64(a, b)
#define MAP_KEY_RANDOM() random_f64()
#define MAP_VALUE_RANDOM() random_pair()
#include "check_map.h"

#define MAP_NAME map_f64_str
#define MAP_KEY f64
#define MAP_VALUE str
#define MAP_SAME(a, b) same_f64(a, b)
#define MAP_KEY_RANDOM() random_f64()
#define MAP_VALUE_RANDOM() random_str()
#include "check_map.h"

#define MAP_NAME map_str_i32
#define MAP_KEY str
#define MAP_VALUE i32
#define MAP_SAME(a, b) same_str(a, b)
#define MAP_KEY_RANDOM() random_str()
#define MAP_VALUE_RANDOM() random_i32()
#include "check_map.h"

#define MAP_NAME map_str_pair
#define MAP_KEY str
#define MAP_VALUE pair
#define MAP_SAME(a, b) same_str(a, b)
#define MAP_KEY_RANDOM() random_str()
#define MAP_VALUE_RANDOM() random_pair()
#include "check_map.h"

#define MAP_NAME map_str_str
#define MAP_KEY str
#define MAP_VALUE str
#define MAP_SAME(a, b) same_str(a, b)
#define MAP_KEY_RANDOM() random_str()
#define MAP_VALUE_RANDOM() random_str()
#include "check_map.h"

#define MAP_NAME map_pair_i32
#define MAP_KEY pair
#define MAP_VALUE i32
#define MAP_SAME(a, b) same_pair(a, b)
#define MAP_KEY_RANDOM() random_pair()
#define MAP_VALUE_RANDOM() random_i32()
#include "check_map.h"

#define MAP_NAME map_pair_pair
#define MAP_KEY pair
#define MAP_VALUE pair
#define MAP_SAME(a, b) same_pair(a, b)
#define MAP_KEY_RANDOM() random_pair()
#define MAP_VALUE_RANDOM() random_pair()
#include "check_map.h"

#define MAP_NAME map_pair_str
#define MAP_KEY pair
#define MAP_VALUE str
#define MAP_SAME(a, b) same_pair(a, b)
#define MAP_KEY_RANDOM() random_pair()
#define MAP_VALUE_RANDOM() random_str()
#include "check_map.h"

#define MAP_NAME map_record_i32
#define MAP_KEY record
#define MAP_VALUE i32
#define MAP_SAME(a, b) same_record(a, b)
#define MAP_KEY_RANDOM() random_record()
#define MAP_VALUE_RANDOM() random_i32()
#include "check_map.h"

#define MAP_NAME map_record_pair
#define MAP_KEY record
#define MAP_VALUE pair
#define MAP_SAME(a, b) same_record(a, b)
#define MAP_KEY_RANDOM() random_record()
#define MAP_VALUE_RANDOM() random_pair()
#include "check_map.h"

#define MAP_NAME map_record_str
#define MAP_KEY record
#define MAP_VALUE str
#define MAP_SAME(a, b) same_record(a, b)
#define MAP_KEY_RANDOM() random_record()
#define MAP_VALUE_RANDOM() random_str()
#include "check_map.h"

int main(void)
{
    map_i32_i32_check();
    map_i32_pair_check();
    map_i32_str_check();
    map_u64_i32_check();
    map_u64_pair_check();
    map_u64_str_check();
    map_f64_i32_check();
    map_f64_pair_check();
    map_f64_str_check();
    map_str_i32_check();
    map_str_pair_check();
    map_str_str_check();
    map_pair_i32_check();
    map_pair_pair_check();
    map_pair_str_check();
    map_record_i32_check();
    map_record_pair_check();
    map_record_str_check();
    puts("map: ok");
    return 0;
}
