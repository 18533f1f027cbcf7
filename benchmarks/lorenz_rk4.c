/* Lorenz system, classical Runge-Kutta, every step recorded: what a careful person writes by hand.
   Built with -O3 -ffp-contract=off: the floating-point contract of dynlib's strict mode. */
#include <stddef.h>

static inline void rhs(const double *s, double *d, double sigma, double rho, double beta)
{
    d[0] = sigma * (s[1] - s[0]);
    d[1] = s[0] * (rho - s[2]) - s[1];
    d[2] = s[0] * s[1] - beta * s[2];
}

void lorenz_rk4(double *state, const double *params, double t0, double dt, long steps,
                double *out_t, long *out_n, double *out_y)
{
    double y[3] = {state[0], state[1], state[2]}, k1[3], k2[3], k3[3], k4[3], mid[3];
    const double sigma = params[0], rho = params[1], beta = params[2];
    out_t[0] = t0;
    out_n[0] = 0;
    for (int i = 0; i < 3; i++)
        out_y[i] = y[i];
    for (long n = 0; n < steps; n++) {
        rhs(y, k1, sigma, rho, beta);
        for (int i = 0; i < 3; i++)
            mid[i] = y[i] + dt * (0.5 * k1[i]);
        rhs(mid, k2, sigma, rho, beta);
        for (int i = 0; i < 3; i++)
            mid[i] = y[i] + dt * (0.5 * k2[i]);
        rhs(mid, k3, sigma, rho, beta);
        for (int i = 0; i < 3; i++)
            mid[i] = y[i] + dt * k3[i];
        rhs(mid, k4, sigma, rho, beta);
        for (int i = 0; i < 3; i++)
            y[i] += dt * (1.0 / 6.0 * k1[i] + 1.0 / 3.0 * k2[i] + 1.0 / 3.0 * k3[i] + 1.0 / 6.0 * k4[i]);
        out_t[n + 1] = t0 + (double)(n + 1) * dt;
        out_n[n + 1] = n + 1;
        for (int i = 0; i < 3; i++)
            out_y[3 * (n + 1) + i] = y[i];
    }
    for (int i = 0; i < 3; i++)
        state[i] = y[i];
}
