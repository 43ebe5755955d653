/* Ordered sets of 64-bit unsigned integers, in two orders. Doesn't know who uses them. */
#include "types.h"

#define TREE_NAME tree_u64
#define TREE_KEY u64
#define TREE_LESS(a, b) less_u64(a, b)
#include "tree.h"

#define TREE_NAME tree_u64_other
#define TREE_KEY u64
#define TREE_LESS(a, b) other_u64(a, b)
#include "tree.h"
