/* Runs every ordered set on random keys. Doesn't know how they work. */
#include "check.h"

#define TREE_NAME tree_i32
#define TREE_KEY i32
#define TREE_LESS(a, b) less_i32(a, b)
#define TREE_RANDOM() random_i32()
#include "check_tree.h"

#define TREE_NAME tree_i32_other
#define TREE_KEY i32
#define TREE_LESS(a, b) other_i32(a, b)
#define TREE_RANDOM() random_i32()
#include "check_tree.h"

#define TREE_NAME tree_u64
#define TREE_KEY u64
#define TREE_LESS(a, b) less_u64(a, b)
#define TREE_RANDOM() random_u64()
#include "check_tree.h"

#define TREE_NAME tree_u64_other
#define TREE_KEY u64
#define TREE_LESS(a, b) other_u64(a, b)
#define TREE_RANDOM() random_u64()
#include "check_tree.h"

#define TREE_NAME tree_f64
#define TREE_KEY f64
#define TREE_LESS(a, b) less_f64(a, b)
#define TREE_RANDOM() random_f64()
#include "check_tree.h"

#define TREE_NAME tree_f64_other
#define TREE_KEY f64
#define TREE_LESS(a, b) other_f64(a, b)
#define TREE_RANDOM() random_f64()
#include "check_tree.h"

#define TREE_NAME tree_str
#define TREE_KEY str
#define TREE_LESS(a, b) less_str(a, b)
#define TREE_RANDOM() random_str()
#include "check_tree.h"

#define TREE_NAME tree_str_other
#define TREE_KEY str
#define TREE_LESS(a, b) other_str(a, b)
#define TREE_RANDOM() random_str()
#include "check_tree.h"

#define TREE_NAME tree_pair
#define TREE_KEY pair
#define TREE_LESS(a, b) less_pair(a, b)
#define TREE_RANDOM() random_pair()
#include "check_tree.h"

#define TREE_NAME tree_pair_other
#define TREE_KEY pair
#define TREE_LESS(a, b) other_pair(a, b)
#define TREE_RANDOM() random_pair()
#include "check_tree.h"

#define TREE_NAME tree_record
#define TREE_KEY record
#define TREE_LESS(a, b) less_record(a, b)
#define TREE_RANDOM() random_record()
#include "check_tree.h"

#define TREE_NAME tree_record_other
#define TREE_KEY record
#define TREE_LESS(a, b) other_record(a, b)
#define TREE_RANDOM() random_record()
#include "check_tree.h"

int main(void)
{
    tree_i32_check();
    tree_i32_other_check();
    tree_u64_check();
    tree_u64_other_check();
    tree_f64_check();
    tree_f64_other_check();
    tree_str_check();
    tree_str_other_check();
    tree_pair_check();
    tree_pair_other_check();
    tree_record_check();
    tree_record_other_check();
    puts("tree: ok");
    return 0;
}
