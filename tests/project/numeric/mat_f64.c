/* Matrices of doubles. Doesn't know who uses them. */
#include <math.h>

#define MAT_NAME mat_f64
#define MAT_TYPE double
#define MAT_ZERO 0.0
#define MAT_ONE 1.0
#define MAT_ADD(a, b) ((a) + (b))
#define MAT_SUB(a, b) ((a) - (b))
#define MAT_MUL(a, b) ((a) * (b))
#define MAT_DIV(a, b) ((a) / (b))
#define MAT_SIZE(a) fabs(a)
#include "matrix.h"
