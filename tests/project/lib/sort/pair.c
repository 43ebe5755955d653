/* Sorts of pairs of integers, in three orders. Doesn't know who uses them. */
#include "types.h"

#define SORT_NAME sort_pair
#define SORT_TYPE pair
#define SORT_LESS(a, b) less_pair(a, b)
#include "sort.h"

#define SORT_NAME sort_pair_down
#define SORT_TYPE pair
#define SORT_LESS(a, b) less_pair(b, a)
#include "sort.h"

#define SORT_NAME sort_pair_other
#define SORT_TYPE pair
#define SORT_LESS(a, b) other_pair(a, b)
#include "sort.h"
