/* Sorts of 64-bit unsigned integers, in three orders. Doesn't know who uses them. */
#include "types.h"

#define SORT_NAME sort_u64
#define SORT_TYPE u64
#define SORT_LESS(a, b) less_u64(a, b)
#include "sort.h"

#define SORT_NAME sort_u64_down
#define SORT_TYPE u64
#define SORT_LESS(a, b) less_u64(b, a)
#include "sort.h"

#define SORT_NAME sort_u64_other
#define SORT_TYPE u64
#define SORT_LESS(a, b) other_u64(a, b)
#include "sort.h"
