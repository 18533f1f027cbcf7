/* Lorenz system with the classical Runge-Kutta method: final state, every step recorded, Lyapunov exponents. */
#include <math.h>

#define SIGMA 10.0
#define RHO 28.0
#define BETA (8.0 / 3.0)

static inline void rhs(const double *s, double *d)
{
    d[0] = SIGMA * (s[1] - s[0]);
    d[1] = s[0] * (RHO - s[2]) - s[1];
    d[2] = s[0] * s[1] - BETA * s[2];
}

static inline void step(double *y, double dt)
{
    double k1[3], k2[3], k3[3], k4[3], mid[3];
    rhs(y, k1);
    for (int i = 0; i < 3; i++)
        mid[i] = y[i] + dt * (0.5 * k1[i]);
    rhs(mid, k2);
    for (int i = 0; i < 3; i++)
        mid[i] = y[i] + dt * (0.5 * k2[i]);
    rhs(mid, k3);
    for (int i = 0; i < 3; i++)
        mid[i] = y[i] + dt * k3[i];
    rhs(mid, k4);
    for (int i = 0; i < 3; i++)
        y[i] += dt * (1.0 / 6.0 * k1[i] + 1.0 / 3.0 * k2[i] + 1.0 / 3.0 * k3[i] + 1.0 / 6.0 * k4[i]);
}

void lorenz_rk4(double *state, double dt, long steps)
{
    double y[3] = {state[0], state[1], state[2]};
    for (long n = 0; n < steps; n++)
        step(y, dt);
    for (int i = 0; i < 3; i++)
        state[i] = y[i];
}

/* Time, step number and state of every step, the first state included. */
void lorenz_rk4_recorded(double *state, double t0, double dt, long steps, double *out_t, long *out_n, double *out_y)
{
    double y[3] = {state[0], state[1], state[2]};
    out_t[0] = t0;
    out_n[0] = 0;
    for (int i = 0; i < 3; i++)
        out_y[i] = y[i];
    for (long n = 0; n < steps; n++) {
        step(y, dt);
        out_t[n + 1] = t0 + (double)(n + 1) * dt;
        out_n[n + 1] = n + 1;
        for (int i = 0; i < 3; i++)
            out_y[3 * (n + 1) + i] = y[i];
    }
    for (int i = 0; i < 3; i++)
        state[i] = y[i];
}

/* State and V tangent vectors in one array: y[0..2], then V times three components. */
#define EXPONENTS(V)                                                                                         \
    static inline void rhs_##V(const double *s, double *d)                                                   \
    {                                                                                                        \
        rhs(s, d);                                                                                           \
        for (int j = 0; j < V; j++) {                                                                        \
            const double *v = s + 3 + 3 * j;                                                                 \
            double *w = d + 3 + 3 * j;                                                                       \
            w[0] = SIGMA * (v[1] - v[0]);                                                                    \
            w[1] = (RHO - s[2]) * v[0] - v[1] - s[0] * v[2];                                                 \
            w[2] = s[1] * v[0] + s[0] * v[1] - BETA * v[2];                                                  \
        }                                                                                                    \
    }                                                                                                        \
    void lorenz_exponents_##V(const double *state, double dt, long steps, double *out)                       \
    {                                                                                                        \
        enum { M = 3 + 3 * V };                                                                              \
        double y[M] = {state[0], state[1], state[2]}, k1[M], k2[M], k3[M], k4[M], mid[M], sum[V] = {0};      \
        for (int j = 0; j < V; j++)                                                                          \
            y[3 + 3 * j + j] = 1.0;                                                                          \
        for (long n = 0; n < steps; n++) {                                                                   \
            rhs_##V(y, k1);                                                                                  \
            for (int i = 0; i < M; i++)                                                                      \
                mid[i] = y[i] + dt * (0.5 * k1[i]);                                                          \
            rhs_##V(mid, k2);                                                                                \
            for (int i = 0; i < M; i++)                                                                      \
                mid[i] = y[i] + dt * (0.5 * k2[i]);                                                          \
            rhs_##V(mid, k3);                                                                                \
            for (int i = 0; i < M; i++)                                                                      \
                mid[i] = y[i] + dt * k3[i];                                                                  \
            rhs_##V(mid, k4);                                                                                \
            for (int i = 0; i < M; i++)                                                                      \
                y[i] += dt * (1.0 / 6.0 * k1[i] + 1.0 / 3.0 * k2[i] + 1.0 / 3.0 * k3[i] + 1.0 / 6.0 * k4[i]); \
            for (int j = 0; j < V; j++) { /* modified Gram-Schmidt */                                        \
                double *v = y + 3 + 3 * j;                                                                   \
                for (int l = 0; l < j; l++) {                                                                \
                    const double *u = y + 3 + 3 * l;                                                         \
                    const double c = u[0] * v[0] + u[1] * v[1] + u[2] * v[2];                                \
                    for (int i = 0; i < 3; i++)                                                              \
                        v[i] -= c * u[i];                                                                    \
                }                                                                                            \
                const double length = sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);                         \
                sum[j] += log(length);                                                                       \
                for (int i = 0; i < 3; i++)                                                                  \
                    v[i] /= length;                                                                          \
            }                                                                                                \
        }                                                                                                    \
        for (int j = 0; j < V; j++)                                                                          \
            out[j] = sum[j] / (steps * dt);                                                                  \
    }

EXPONENTS(1)
EXPONENTS(3)
