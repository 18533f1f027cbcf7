/* Ensembles as a careful person writes them by hand: one member after the other, each in scalars.
   Built with -O3 -march=native, which lets gcc fuse multiplications and additions.
   Arrays of all members have one row per state, as those of dynlib. */
#include <math.h>

static inline void lorenz(const double *s, double *d)
{
    d[0] = 10.0 * (s[1] - s[0]);
    d[1] = s[0] * (28.0 - s[2]) - s[1];
    d[2] = s[0] * s[1] - 8.0 / 3.0 * s[2];
}

void lorenz_rk4(double *y, long members, double dt, long steps)
{
    for (long m = 0; m < members; m++) {
        double s[3] = {y[m], y[members + m], y[2 * members + m]}, k1[3], k2[3], k3[3], k4[3], mid[3];
        for (long n = 0; n < steps; n++) {
            lorenz(s, k1);
            for (int i = 0; i < 3; i++)
                mid[i] = s[i] + dt * (0.5 * k1[i]);
            lorenz(mid, k2);
            for (int i = 0; i < 3; i++)
                mid[i] = s[i] + dt * (0.5 * k2[i]);
            lorenz(mid, k3);
            for (int i = 0; i < 3; i++)
                mid[i] = s[i] + dt * k3[i];
            lorenz(mid, k4);
            for (int i = 0; i < 3; i++)
                s[i] += dt * (1.0 / 6.0 * k1[i] + 1.0 / 3.0 * k2[i] + 1.0 / 3.0 * k3[i] + 1.0 / 6.0 * k4[i]);
        }
        for (int i = 0; i < 3; i++)
            y[i * members + m] = s[i];
    }
}

/* Dormand & Prince 5(4) with the PI controller of the code DOPRI5 (HNW I, II.4-6), shortened to end at t_end. */
long lorenz_dopri5(double *y, long members, double t_end, double tol)
{
    long attempts = 0;
    for (long m = 0; m < members; m++) {
        double s[3] = {y[m], y[members + m], y[2 * members + m]};
        double k1[3], k2[3], k3[3], k4[3], k5[3], k6[3], k7[3], u[3], new[3];
        double t = 0.0, h = 1e-3, before = 1e-4;
        int rejected = 0;
        lorenz(s, k1);
        while (t < t_end) {
            int last = t + h >= t_end;
            if (last)
                h = t_end - t;
            attempts++;
            for (int i = 0; i < 3; i++)
                u[i] = s[i] + h * (1.0 / 5 * k1[i]);
            lorenz(u, k2);
            for (int i = 0; i < 3; i++)
                u[i] = s[i] + h * (3.0 / 40 * k1[i] + 9.0 / 40 * k2[i]);
            lorenz(u, k3);
            for (int i = 0; i < 3; i++)
                u[i] = s[i] + h * (44.0 / 45 * k1[i] - 56.0 / 15 * k2[i] + 32.0 / 9 * k3[i]);
            lorenz(u, k4);
            for (int i = 0; i < 3; i++)
                u[i] = s[i] + h * (19372.0 / 6561 * k1[i] - 25360.0 / 2187 * k2[i] + 64448.0 / 6561 * k3[i]
                                   - 212.0 / 729 * k4[i]);
            lorenz(u, k5);
            for (int i = 0; i < 3; i++)
                u[i] = s[i] + h * (9017.0 / 3168 * k1[i] - 355.0 / 33 * k2[i] + 46732.0 / 5247 * k3[i]
                                   + 49.0 / 176 * k4[i] - 5103.0 / 18656 * k5[i]);
            lorenz(u, k6);
            for (int i = 0; i < 3; i++)
                new[i] = s[i] + h * (35.0 / 384 * k1[i] + 500.0 / 1113 * k3[i] + 125.0 / 192 * k4[i]
                                     - 2187.0 / 6784 * k5[i] + 11.0 / 84 * k6[i]);
            lorenz(new, k7);
            double acc = 0.0;
            for (int i = 0; i < 3; i++) {
                double e = h * (71.0 / 57600 * k1[i] - 71.0 / 16695 * k3[i] + 71.0 / 1920 * k4[i]
                                - 17253.0 / 339200 * k5[i] + 22.0 / 525 * k6[i] - 1.0 / 40 * k7[i]);
                double part = e / (tol + tol * fmax(fabs(s[i]), fabs(new[i])));
                acc += part * part;
            }
            double err = sqrt(acc / 3.0);
            double raised = pow(err, 0.17);
            if (err <= 1.0) {
                double factor = fmax(0.1, fmin(5.0, raised * pow(before, -0.04) / 0.9));
                before = fmax(err, 1e-4);
                t = last ? t_end : t + h;
                for (int i = 0; i < 3; i++) {
                    s[i] = new[i];
                    k1[i] = k7[i];
                }
                h = rejected ? fmin(h, h / factor) : h / factor;
                rejected = 0;
            } else {
                h /= fmin(5.0, raised / 0.9);
                rejected = 1;
            }
        }
        for (int i = 0; i < 3; i++)
            y[i * members + m] = s[i];
    }
    return attempts;
}

static inline double vtrap(double x, double y)
{
    double q = x / y;
    return fabs(q) < 1e-4 ? y * (1.0 - q / 2.0 + q * q / 12.0) : x / expm1(q);
}

static inline void hodgkin_huxley(const double *s, double *d, double current)
{
    double V = s[0], m = s[1], h = s[2], n = s[3];
    double Na = 120.0 * m * m * m * h * (V - 115.0), K = 36.0 * n * n * n * n * (V + 12.0), leak = 0.3 * (V - 10.613);
    d[0] = current - Na - K - leak;
    d[1] = 0.1 * vtrap(25.0 - V, 10.0) * (1.0 - m) - 4.0 * exp(-V / 18.0) * m;
    d[2] = 0.07 * exp(-V / 20.0) * (1.0 - h) - 1.0 / (exp((30.0 - V) / 10.0) + 1.0) * h;
    d[3] = 0.01 * vtrap(10.0 - V, 10.0) * (1.0 - n) - 0.125 * exp(-V / 80.0) * n;
}

void neurons_rk4(double *y, const double *current, long members, double dt, long steps)
{
    for (long m = 0; m < members; m++) {
        double s[4], k1[4], k2[4], k3[4], k4[4], mid[4];
        for (int i = 0; i < 4; i++)
            s[i] = y[i * members + m];
        for (long n = 0; n < steps; n++) {
            hodgkin_huxley(s, k1, current[m]);
            for (int i = 0; i < 4; i++)
                mid[i] = s[i] + dt * (0.5 * k1[i]);
            hodgkin_huxley(mid, k2, current[m]);
            for (int i = 0; i < 4; i++)
                mid[i] = s[i] + dt * (0.5 * k2[i]);
            hodgkin_huxley(mid, k3, current[m]);
            for (int i = 0; i < 4; i++)
                mid[i] = s[i] + dt * k3[i];
            hodgkin_huxley(mid, k4, current[m]);
            for (int i = 0; i < 4; i++)
                s[i] += dt * (1.0 / 6.0 * k1[i] + 1.0 / 3.0 * k2[i] + 1.0 / 3.0 * k3[i] + 1.0 / 6.0 * k4[i]);
        }
        for (int i = 0; i < 4; i++)
            y[i * members + m] = s[i];
    }
}
