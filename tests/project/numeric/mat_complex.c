/* Matrices of complex doubles. Doesn't know who uses them. */
#include <complex.h>

#define MAT_NAME mat_complex
#define MAT_TYPE double complex
#define MAT_ZERO 0.0
#define MAT_ONE 1.0
#define MAT_ADD(a, b) ((a) + (b))
#define MAT_SUB(a, b) ((a) - (b))
#define MAT_MUL(a, b) ((a) * (b))
#define MAT_DIV(a, b) ((a) / (b))
#define MAT_SIZE(a) cabs(a)
#include "matrix.h"
