/* Ordered sets of pairs of integers, in two orders. Doesn't know who uses them. */
#include "types.h"

#define TREE_NAME tree_pair
#define TREE_KEY pair
#define TREE_LESS(a, b) less_pair(a, b)
#include "tree.h"

#define TREE_NAME tree_pair_other
#define TREE_KEY pair
#define TREE_LESS(a, b) other_pair(a, b)
#include "tree.h"
