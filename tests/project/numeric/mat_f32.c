/* Matrices of floats. Doesn't know who uses them. */
#include <math.h>

#define MAT_NAME mat_f32
#define MAT_TYPE float
#define MAT_ZERO 0.0f
#define MAT_ONE 1.0f
#define MAT_ADD(a, b) ((a) + (b))
#define MAT_SUB(a, b) ((a) - (b))
#define MAT_MUL(a, b) ((a) * (b))
#define MAT_DIV(a, b) ((a) / (b))
#define MAT_SIZE(a) fabsf(a)
#include "matrix.h"
