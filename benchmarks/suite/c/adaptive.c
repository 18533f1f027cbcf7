/* Dormand-Prince 5(4) with first-same-as-last and a PI controller (Hairer, Norsett & Wanner I, II.4 and II.5). */
#include <math.h>

static inline void lorenz(const double *y, double *d)
{
    d[0] = 10.0 * (y[1] - y[0]);
    d[1] = y[0] * (28.0 - y[2]) - y[1];
    d[2] = y[0] * y[1] - (8.0 / 3.0) * y[2];
}

static inline void arenstorf(const double *y, double *d)
{
    const double mu = 0.012277471, nu = 1 - mu;
    double a = (y[0] + mu) * (y[0] + mu) + y[1] * y[1], b = (y[0] - nu) * (y[0] - nu) + y[1] * y[1];
    a *= sqrt(a);
    b *= sqrt(b);
    d[0] = y[2];
    d[1] = y[3];
    d[2] = y[0] + 2 * y[3] - nu * (y[0] + mu) / a - mu * (y[0] - nu) / b;
    d[3] = y[1] - 2 * y[2] - nu * y[1] / a - mu * y[1] / b;
}

#define ALL for (int i = 0; i < N; i++)

#define DOPRI5(SYSTEM, DIMENSION)                                                                               \
    int SYSTEM##_dopri5(double *state, double t_end, double rtol, double atol, long most)                       \
    {                                                                                                           \
        enum { N = DIMENSION };                                                                                 \
        double y[N], k1[N], k2[N], k3[N], k4[N], k5[N], k6[N], k7[N], z[N], t = 0.0, before = 1e-4;             \
        ALL y[i] = state[i];                                                                                    \
        SYSTEM(y, k1);                                                                                          \
        double d0 = 0, d1 = 0, d2 = 0;                                                                          \
        ALL {                                                                                                   \
            const double s = atol + rtol * fabs(y[i]);                                                          \
            d0 += y[i] * y[i] / (s * s);                                                                        \
            d1 += k1[i] * k1[i] / (s * s);                                                                      \
        }                                                                                                       \
        double h = fmin(d0 < 1e-10 || d1 < 1e-10 ? 1e-6 : 0.01 * sqrt(d0 / d1), t_end);                         \
        ALL z[i] = y[i] + h * k1[i];                                                                            \
        SYSTEM(z, k2);                                                                                          \
        ALL {                                                                                                   \
            const double s = atol + rtol * fabs(y[i]), d = (k2[i] - k1[i]) / s;                                 \
            d2 += d * d;                                                                                        \
        }                                                                                                       \
        const double d = fmax(sqrt(d1 / N), sqrt(d2 / N) / h);                                                  \
        h = fmin(100 * h, d < 1e-15 ? fmax(1e-6, 1e-3 * h) : pow(0.01 / d, 0.2));                               \
        int rejected = 0;                                                                                       \
        for (long n = 0; n < most; n++) {                                                                       \
            const int last = t + 1.0000001 * h >= t_end;                                                        \
            if (last)                                                                                           \
                h = t_end - t;                                                                                  \
            ALL z[i] = y[i] + h * (1.0 / 5 * k1[i]);                                                            \
            SYSTEM(z, k2);                                                                                      \
            ALL z[i] = y[i] + h * (3.0 / 40 * k1[i] + 9.0 / 40 * k2[i]);                                        \
            SYSTEM(z, k3);                                                                                      \
            ALL z[i] = y[i] + h * (44.0 / 45 * k1[i] - 56.0 / 15 * k2[i] + 32.0 / 9 * k3[i]);                   \
            SYSTEM(z, k4);                                                                                      \
            ALL z[i] = y[i] + h * (19372.0 / 6561 * k1[i] - 25360.0 / 2187 * k2[i] + 64448.0 / 6561 * k3[i]     \
                                   - 212.0 / 729 * k4[i]);                                                      \
            SYSTEM(z, k5);                                                                                      \
            ALL z[i] = y[i] + h * (9017.0 / 3168 * k1[i] - 355.0 / 33 * k2[i] + 46732.0 / 5247 * k3[i]          \
                                   + 49.0 / 176 * k4[i] - 5103.0 / 18656 * k5[i]);                              \
            SYSTEM(z, k6);                                                                                      \
            ALL z[i] = y[i] + h * (35.0 / 384 * k1[i] + 500.0 / 1113 * k3[i] + 125.0 / 192 * k4[i]              \
                                   - 2187.0 / 6784 * k5[i] + 11.0 / 84 * k6[i]);                                \
            SYSTEM(z, k7);                                                                                      \
            double error = 0;                                                                                   \
            ALL {                                                                                               \
                const double e = h * (71.0 / 57600 * k1[i] - 71.0 / 16695 * k3[i] + 71.0 / 1920 * k4[i]         \
                                      - 17253.0 / 339200 * k5[i] + 22.0 / 525 * k6[i] - 1.0 / 40 * k7[i]);      \
                const double s = atol + rtol * fmax(fabs(y[i]), fabs(z[i]));                                    \
                error += e * e / (s * s);                                                                       \
            }                                                                                                   \
            error = sqrt(error / N);                                                                            \
            if (error <= 1) {                                                                                   \
                ALL {                                                                                           \
                    y[i] = z[i];                                                                                \
                    k1[i] = k7[i];                                                                              \
                }                                                                                               \
                t += h;                                                                                         \
                if (last) {                                                                                     \
                    ALL state[i] = y[i];                                                                        \
                    return 1;                                                                                   \
                }                                                                                               \
                double factor = 0.9 * pow(fmax(error, 1e-10), -0.17) * pow(before, 0.04);                       \
                factor = fmin(10.0, fmax(0.2, factor));                                                         \
                h *= rejected ? fmin(1.0, factor) : factor;                                                     \
                before = fmax(error, 1e-4);                                                                     \
                rejected = 0;                                                                                   \
            } else {                                                                                            \
                h *= fmax(0.2, 0.9 * pow(error, -0.17));                                                        \
                rejected = 1;                                                                                   \
            }                                                                                                   \
        }                                                                                                       \
        return 0;                                                                                               \
    }

DOPRI5(lorenz, 3)
DOPRI5(arenstorf, 4)
