/* Sorts of doubles, in three orders. Doesn't know who uses them. */
#include "types.h"

#define SORT_NAME sort_f64
#define SORT_TYPE f64
#define SORT_LESS(a, b) less_f64(a, b)
#include "sort.h"

#define SORT_NAME sort_f64_down
#define SORT_TYPE f64
#define SORT_LESS(a, b) less_f64(b, a)
#include "sort.h"

#define SORT_NAME sort_f64_other
#define SORT_TYPE f64
#define SORT_LESS(a, b) other_f64(a, b)
#include "sort.h"
