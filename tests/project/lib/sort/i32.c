/* Sorts of 32-bit integers, in three orders. Doesn't know who uses them. */
#include "types.h"

#define SORT_NAME sort_i32
#define SORT_TYPE i32
#define SORT_LESS(a, b) less_i32(a, b)
#include "sort.h"

#define SORT_NAME sort_i32_down
#define SORT_TYPE i32
#define SORT_LESS(a, b) less_i32(b, a)
#include "sort.h"

#define SORT_NAME sort_i32_other
#define SORT_TYPE i32
#define SORT_LESS(a, b) other_i32(a, b)
#include "sort.h"
