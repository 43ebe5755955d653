/* Sorts of named records, in three orders. Doesn't know who uses them. */
#include "types.h"

#define SORT_NAME sort_record
#define SORT_TYPE record
#define SORT_LESS(a, b) less_record(a, b)
#include "sort.h"

#define SORT_NAME sort_record_down
#define SORT_TYPE record
#define SORT_LESS(a, b) less_record(b, a)
#include "sort.h"

#define SORT_NAME sort_record_other
#define SORT_TYPE record
#define SORT_LESS(a, b) other_record(a, b)
#include "sort.h"
