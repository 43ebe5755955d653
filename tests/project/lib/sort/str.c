/* Sorts of C strings, in three orders. Doesn't know who uses them. */
#include "types.h"

#define SORT_NAME sort_str
#define SORT_TYPE str
#define SORT_LESS(a, b) less_str(a, b)
#include "sort.h"

#define SORT_NAME sort_str_down
#define SORT_TYPE str
#define SORT_LESS(a, b) less_str(b, a)
#include "sort.h"

#define SORT_NAME sort_str_other
#define SORT_TYPE str
#define SORT_LESS(a, b) other_str(a, b)
#include "sort.h"
