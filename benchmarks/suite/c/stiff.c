/* Rodas4 (Hairer & Wanner II, IV.7) with the Jacobian by hand and a factorisation with pivoting.
   rodas4.h has the coefficients A, C, GAMMA in the form of Rosenbrock in src/dynlib/steppers/rosenbrock.py. */
#include "rodas4.h"
#include <math.h>

static inline void van_der_pol(const double *y, double *d)
{
    d[0] = y[1];
    d[1] = 1000.0 * (1 - y[0] * y[0]) * y[1] - y[0];
}

static inline void van_der_pol_jacobian(const double *y, double J[2][2])
{
    J[0][0] = 0;
    J[0][1] = 1;
    J[1][0] = -2000.0 * y[0] * y[1] - 1;
    J[1][1] = 1000.0 * (1 - y[0] * y[0]);
}

static inline void robertson(const double *y, double *d)
{
    const double fast = 1e4 * y[1] * y[2], square = 3e7 * y[1] * y[1];
    d[0] = -0.04 * y[0] + fast;
    d[1] = 0.04 * y[0] - fast - square;
    d[2] = square;
}

static inline void robertson_jacobian(const double *y, double J[3][3])
{
    J[0][0] = -0.04;
    J[0][1] = 1e4 * y[2];
    J[0][2] = 1e4 * y[1];
    J[1][0] = 0.04;
    J[1][1] = -1e4 * y[2] - 6e7 * y[1];
    J[1][2] = -1e4 * y[1];
    J[2][0] = 0;
    J[2][1] = 6e7 * y[1];
    J[2][2] = 0;
}

#define ALL for (int i = 0; i < N; i++)
#define UNROLL _Pragma("GCC unroll 6")

#define RODAS4(SYSTEM, DIMENSION)                                                                                \
    int SYSTEM##_rodas4(double *state, double t_end, double rtol, double atol, long most)                        \
    {                                                                                                            \
        enum { N = DIMENSION };                                                                                  \
        double y[N], u[6][N], W[N][N], J[N][N], z[N], f[N], t = 0.0;                                             \
        double h = fmin(1e-4, t_end);                                                                            \
        ALL y[i] = state[i];                                                                                     \
        int rejected = 0;                                                                                        \
        for (long n = 0; n < most; n++) {                                                                        \
            const int last = t + 1.0000001 * h >= t_end;                                                         \
            if (last)                                                                                            \
                h = t_end - t;                                                                                   \
            int order[N];                                                                                        \
            SYSTEM##_jacobian(y, J);                                                                             \
            for (int r = 0; r < N; r++)                                                                          \
                for (int c = 0; c < N; c++)                                                                      \
                    W[r][c] = (r == c ? 1 / (h * GAMMA) : 0.0) - J[r][c];                                        \
            for (int c = 0; c < N; c++) {                                                                        \
                int best = c;                                                                                    \
                for (int r = c + 1; r < N; r++)                                                                  \
                    if (fabs(W[r][c]) > fabs(W[best][c]))                                                        \
                        best = r;                                                                                \
                order[c] = best;                                                                                 \
                for (int q = 0; q < N; q++) {                                                                    \
                    const double swap = W[c][q];                                                                 \
                    W[c][q] = W[best][q];                                                                        \
                    W[best][q] = swap;                                                                           \
                }                                                                                                \
                W[c][c] = 1 / W[c][c];                                                                           \
                for (int r = c + 1; r < N; r++) {                                                                \
                    W[r][c] *= W[c][c];                                                                          \
                    for (int q = c + 1; q < N; q++)                                                              \
                        W[r][q] -= W[r][c] * W[c][q];                                                            \
                }                                                                                                \
            }                                                                                                    \
            UNROLL for (int s = 0; s < 6; s++)                                                                   \
            {                                                                                                    \
                ALL z[i] = y[i];                                                                                 \
                UNROLL for (int j = 0; j < s; j++) ALL z[i] += A[s][j] * u[j][i];                                \
                SYSTEM(z, f);                                                                                    \
                ALL {                                                                                            \
                    double sum = 0;                                                                              \
                    UNROLL for (int j = 0; j < s; j++) sum += C[s][j] * u[j][i];                                 \
                    f[i] += sum / h;                                                                             \
                }                                                                                                \
                for (int c = 0; c < N; c++) {                                                                    \
                    const double swap = f[c];                                                                    \
                    f[c] = f[order[c]];                                                                          \
                    f[order[c]] = swap;                                                                          \
                }                                                                                                \
                for (int r = 1; r < N; r++)                                                                      \
                    for (int c = 0; c < r; c++)                                                                  \
                        f[r] -= W[r][c] * f[c];                                                                  \
                for (int r = N - 1; r >= 0; r--) {                                                               \
                    for (int c = r + 1; c < N; c++)                                                              \
                        f[r] -= W[r][c] * f[c];                                                                  \
                    f[r] *= W[r][r];                                                                             \
                }                                                                                                \
                ALL u[s][i] = f[i];                                                                              \
            }                                                                                                    \
            double error = 0;                                                                                    \
            ALL {                                                                                                \
                z[i] += u[5][i];                                                                                 \
                const double scale = atol + rtol * fmax(fabs(y[i]), fabs(z[i]));                                 \
                error += u[5][i] * u[5][i] / (scale * scale);                                                    \
            }                                                                                                    \
            error = sqrt(error / N);                                                                             \
            const double factor = fmin(6.0, fmax(0.2, 0.9 * pow(fmax(error, 1e-12), -0.25)));                    \
            if (error <= 1) {                                                                                    \
                ALL y[i] = z[i];                                                                                 \
                t += h;                                                                                          \
                if (last) {                                                                                      \
                    ALL state[i] = y[i];                                                                         \
                    return 1;                                                                                    \
                }                                                                                                \
                h *= rejected ? fmin(1.0, factor) : factor;                                                      \
                rejected = 0;                                                                                    \
            } else {                                                                                             \
                h *= error == error ? fmin(0.9, factor) : 0.2;                                                   \
                rejected = 1;                                                                                    \
            }                                                                                                    \
        }                                                                                                        \
        return 0;                                                                                                \
    }

RODAS4(van_der_pol, 2)
RODAS4(robertson, 3)
