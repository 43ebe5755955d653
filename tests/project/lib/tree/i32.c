/* Ordered sets of 32-bit integers, in two orders. Doesn't know who uses them. */
#include "types.h"

#define TREE_NAME tree_i32
#define TREE_KEY i32
#define TREE_LESS(a, b) less_i32(a, b)
#include "tree.h"

#define TREE_NAME tree_i32_other
#define TREE_KEY i32
#define TREE_LESS(a, b) other_i32(a, b)
#include "tree.h"
