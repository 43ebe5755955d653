/* Ordered sets of C strings, in two orders. Doesn't know who uses them. */
#include "types.h"

#define TREE_NAME tree_str
#define TREE_KEY str
#define TREE_LESS(a, b) less_str(a, b)
#include "tree.h"

#define TREE_NAME tree_str_other
#define TREE_KEY str
#define TREE_LESS(a, b) other_str(a, b)
#include "tree.h"
