/* The logistic map for many parameters; a reaction-diffusion chain and a Kuramoto network of any size. */
#include <math.h>
#include <stdlib.h>

void logistic_orbits(const double *r, long values, long transient, long kept, double *out)
{
    for (long j = 0; j < values; j++) {
        double x = 0.2;
        for (long n = 0; n < transient; n++)
            x = r[j] * x * (1 - x);
        for (long n = 0; n < kept; n++) {
            x = r[j] * x * (1 - x);
            out[j * kept + n] = x;
        }
    }
}

static inline double reaction(double u)
{
    return u * (1 - u) * (u - 0.1);
}

static void chain(const double *restrict u, double *restrict d, long n)
{
    d[0] = u[1] - u[0] + reaction(u[0]);
    for (long i = 1; i < n - 1; i++)
        d[i] = u[i - 1] - 2 * u[i] + u[i + 1] + reaction(u[i]);
    d[n - 1] = u[n - 2] - u[n - 1] + reaction(u[n - 1]);
}

static const double *frequency;
static double strength;

static void kuramoto(const double *restrict u, double *restrict d, long n)
{
    for (long i = 0; i < n; i++) {
        double sum = 0;
        for (long j = 0; j < n; j++)
            sum += sin(u[j] - u[i]);
        d[i] = frequency[i] + strength / n * sum;
    }
}

static inline void shifted(const double *restrict y, double h, const double *restrict k, double *restrict z, long n)
{
    for (long i = 0; i < n; i++)
        z[i] = y[i] + h * k[i];
}

#define RK4(SYSTEM)                                                                                \
    static void SYSTEM##_rk4(double *restrict y, long n, double dt, long steps)                    \
    {                                                                                              \
        double *k = malloc(5 * n * sizeof(double));                                                \
        double *restrict k1 = k, *restrict k2 = k + n, *restrict k3 = k + 2 * n, *restrict k4 = k + 3 * n, \
               *restrict z = k + 4 * n;                                                            \
        for (long m = 0; m < steps; m++) {                                                         \
            SYSTEM(y, k1, n);                                                                      \
            shifted(y, 0.5 * dt, k1, z, n);                                                        \
            SYSTEM(z, k2, n);                                                                      \
            shifted(y, 0.5 * dt, k2, z, n);                                                        \
            SYSTEM(z, k3, n);                                                                      \
            shifted(y, dt, k3, z, n);                                                              \
            SYSTEM(z, k4, n);                                                                      \
            for (long i = 0; i < n; i++)                                                           \
                y[i] += dt * (1.0 / 6 * k1[i] + 1.0 / 3 * k2[i] + 1.0 / 3 * k3[i] + 1.0 / 6 * k4[i]); \
        }                                                                                          \
        free(k);                                                                                   \
    }

RK4(chain)
RK4(kuramoto)

void run_chain(double *y, long n, double dt, long steps)
{
    chain_rk4(y, n, dt, steps);
}

void run_kuramoto(double *y, const double *omega, double coupling, long n, double dt, long steps)
{
    frequency = omega;
    strength = coupling;
    kuramoto_rk4(y, n, dt, steps);
}
