/*
 * Checks every field's matrices by laws they must keep. Doesn't know how they work.
 */
#include <complex.h>
#include <math.h>

#include "check.h"
#include "field.h"

#define MAT_DECLARE

#define MAT_NAME mat_f32
#define MAT_TYPE float
#include "matrix.h"
#undef MAT_NAME
#undef MAT_TYPE

#define MAT_NAME mat_f64
#define MAT_TYPE double
#include "matrix.h"
#undef MAT_NAME
#undef MAT_TYPE

#define MAT_NAME mat_complex
#define MAT_TYPE double complex
#include "matrix.h"
#undef MAT_NAME
#undef MAT_TYPE

#define MAT_NAME mat_field
#define MAT_TYPE uint32_t
#include "matrix.h"
#undef MAT_NAME
#undef MAT_TYPE

/* mul is commutative in each of these fields, so det(ab) is det(a) * det(b). */
#define LAWS(M, T, N, RANDOM, MUL, NEAR)                                        \
    static void M##_laws(void)                                                  \
    {                                                                           \
        static T a[N * N], b[N * N], c[N * N], d[N * N], x[N];                  \
        for (int i = 0; i < N * N; i++) {                                       \
            a[i] = RANDOM;                                                      \
            b[i] = RANDOM;                                                      \
        }                                                                       \
        CHECK(NEAR(M##_det(a, 3), M##_det3(a)));                                \
        CHECK(NEAR(M##_det(a, 4), M##_det4(a)));                                \
        M##_mul4(c, a, b);                                                      \
        CHECK(NEAR(M##_det4(c), MUL(M##_det4(a), M##_det4(b))));                \
        M##_mul(c, a, b, N);                                                    \
        M##_mul_blocked(d, a, b, N);                                            \
        for (int i = 0; i < N * N; i++)                                         \
            CHECK(NEAR(c[i], d[i]));                                            \
        M##_mul(d, b, a, N);                                                    \
        CHECK(NEAR(M##_trace(c, N), M##_trace(d, N)));                          \
        CHECK(M##_inverse(a, b, N) && M##_rank(a, N, N) == N);                  \
        M##_mul(c, a, b, N);                                                    \
        M##_identity(d, N);                                                     \
        for (int i = 0; i < N * N; i++)                                         \
            CHECK(NEAR(c[i], d[i]));                                            \
        CHECK(M##_solve(a, b, x, N));                                           \
        for (int i = 0; i < N; i++) {                                           \
            for (int j = 0; j < N; j++)                                         \
                d[j] = MUL(a[i * N + j], x[j]);                                 \
            M##_identity(c, N);                                                 \
            for (int j = 0; j < N; j++)                                         \
                c[j * N + j] = d[j];                                            \
            CHECK(NEAR(M##_trace(c, N), b[i]));                                 \
        }                                                                       \
        M##_mul(c, a, a, N);                                                    \
        M##_mul(d, c, a, N);                                                    \
        CHECK(M##_power(c, a, N, 3));                                           \
        for (int i = 0; i < N * N; i++)                                         \
            CHECK(NEAR(c[i], d[i]));                                            \
    }

static double unit(void)
{
    return (double)(random_bits() % 2001) / 1000 - 1;
}

#define TIMES(a, b) ((a) * (b))
#define NEAR_F32(a, b) (fabsf((a) - (b)) < 2e-2f)
#define NEAR_F64(a, b) (fabs((a) - (b)) < 1e-8)
#define NEAR_COMPLEX(a, b) (cabs((a) - (b)) < 1e-8)
#define SAME(a, b) ((a) == (b))

LAWS(mat_f32, float, 12, (float)unit(), TIMES, NEAR_F32)
LAWS(mat_f64, double, 50, unit(), TIMES, NEAR_F64)
LAWS(mat_complex, double complex, 40, unit() + unit() * I, TIMES, NEAR_COMPLEX)
LAWS(mat_field, uint32_t, 60, (uint32_t)(random_bits() % FIELD_PRIME), field_mul, SAME)

int main(void)
{
    mat_f32_laws();
    mat_f64_laws();
    mat_complex_laws();
    mat_field_laws();
    puts("matrix: ok");
    return 0;
}
