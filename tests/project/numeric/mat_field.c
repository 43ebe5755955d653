/* Matrices of integers modulo a prime: exact, so good for tests. Doesn't know who uses them. */
#include "field.h"

#define MAT_NAME mat_field
#define MAT_TYPE uint32_t
#define MAT_ZERO 0
#define MAT_ONE 1
#define MAT_ADD(a, b) field_add(a, b)
#define MAT_SUB(a, b) field_sub(a, b)
#define MAT_MUL(a, b) field_mul(a, b)
#define MAT_DIV(a, b) field_div(a, b)
#define MAT_SIZE(a) (a)
#include "matrix.h"
