/* Ordered sets of doubles, in two orders. Doesn't know who uses them. */
#include "types.h"

#define TREE_NAME tree_f64
#define TREE_KEY f64
#define TREE_LESS(a, b) less_f64(a, b)
#include "tree.h"

#define TREE_NAME tree_f64_other
#define TREE_KEY f64
#define TREE_LESS(a, b) other_f64(a, b)
#include "tree.h"
