/* Ordered sets of named records, in two orders. Doesn't know who uses them. */
#include "types.h"

#define TREE_NAME tree_record
#define TREE_KEY record
#define TREE_LESS(a, b) less_record(a, b)
#include "tree.h"

#define TREE_NAME tree_record_other
#define TREE_KEY record
#define TREE_LESS(a, b) other_record(a, b)
#include "tree.h"
