/* Runs every sort of every instance on random input. Doesn't know how they work. */
#include "check.h"

#define SORT_NAME sort_i32
#define SORT_TYPE i32
#define SORT_LESS(a, b) less_i32(a, b)
#define SORT_RANDOM() random_i32()
#include "check_sort.h"

#define SORT_NAME sort_i32_down
#define SORT_TYPE i32
#define SORT_LESS(a, b) less_i32(b, a)
#define SORT_RANDOM() random_i32()
#include "check_sort.h"

#define SORT_NAME sort_i32_other
#define SORT_TYPE i32
#define SORT_LESS(a, b) other_i32(a, b)
#define SORT_RANDOM() random_i32()
#include "check_sort.h"

#define SORT_NAME sort_u64
#define SORT_TYPE u64
#define SORT_LESS(a, b) less_u64(a, b)
#define SORT_RANDOM() random_u64()
#include "check_sort.h"

#define SORT_NAME sort_u64_down
#define SORT_TYPE u64
#define SORT_LESS(a, b) less_u64(b, a)
#define SORT_RANDOM() random_u64()
#include "check_sort.h"

#define SORT_NAME sort_u64_other
#define SORT_TYPE u64
#define SORT_LESS(a, b) other_u64(a, b)
#define SORT_RANDOM() random_u64()
#include "check_sort.h"

#define SORT_NAME sort_f64
#define SORT_TYPE f64
#define SORT_LESS(a, b) less_f64(a, b)
#define SORT_RANDOM() random_f64()
#include "check_sort.h"

#define SORT_NAME sort_f64_down
#define SORT_TYPE f64
#define SORT_LESS(a, b) less_f64(b, a)
#define SORT_RANDOM() random_f64()
#include "check_sort.h"

#define SORT_NAME sort_f64_other
#define SORT_TYPE f64
#define SORT_LESS(a, b) other_f64(a, b)
#define SORT_RANDOM() random_f64()
#include "check_sort.h"

#define SORT_NAME sort_str
#define SORT_TYPE str
#define SORT_LESS(a, b) less_str(a, b)
#define SORT_RANDOM() random_str()
#include "check_sort.h"

#define SORT_NAME sort_str_down
#define SORT_TYPE str
#define SORT_LESS(a, b) less_str(b, a)
#define SORT_RANDOM() random_str()
#include "check_sort.h"

#define SORT_NAME sort_str_other
#define SORT_TYPE str
#define SORT_LESS(a, b) other_str(a, b)
#define SORT_RANDOM() random_str()
#include "check_sort.h"

#define SORT_NAME sort_pair
#define SORT_TYPE pair
#define SORT_LESS(a, b) less_pair(a, b)
#define SORT_RANDOM() random_pair()
#include "check_sort.h"

#define SORT_NAME sort_pair_down
#define SORT_TYPE pair
#define SORT_LESS(a, b) less_pair(b, a)
#define SORT_RANDOM() random_pair()
#include "check_sort.h"

#define SORT_NAME sort_pair_other
#define SORT_TYPE pair
#define SORT_LESS(a, b) other_pair(a, b)
#define SORT_RANDOM() random_pair()
#include "check_sort.h"

#define SORT_NAME sort_record
#define SORT_TYPE record
#define SORT_LESS(a, b) less_record(a, b)
#define SORT_RANDOM() random_record()
#include "check_sort.h"

#define SORT_NAME sort_record_down
#define SORT_TYPE record
#define SORT_LESS(a, b) less_record(b, a)
#define SORT_RANDOM() random_record()
#include "check_sort.h"

#define SORT_NAME sort_record_other
#define SORT_TYPE record
#define SORT_LESS(a, b) other_record(a, b)
#define SORT_RANDOM() random_record()
#include "check_sort.h"

int main(void)
{
    sort_i32_check();
    sort_i32_down_check();
    sort_i32_other_check();
    sort_u64_check();
    sort_u64_down_check();
    sort_u64_other_check();
    sort_f64_check();
    sort_f64_down_check();
    sort_f64_other_check();
    sort_str_check();
    sort_str_down_check();
    sort_str_other_check();
    sort_pair_check();
    sort_pair_down_check();
    sort_pair_other_check();
    sort_record_check();
    sort_record_down_check();
    sort_record_other_check();
    puts("sort: ok");
    return 0;
}
