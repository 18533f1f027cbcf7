"""Elementary functions without branches and without calls, for the lanes of ensembles.

The C library computes one value at a time. These are plain arithmetic, so that a loop over lanes that uses them becomes
vector instructions; every lane, and the interpreter, gets the same bits. Polynomials and the way of reduction are those
of FDLIBM (Sun Microsystems, 1993), with fused multiply-adds in the reductions, but for `exp`, whose polynomial is
fitted. Largest errors found in units of the last place are in `BOUNDS`, and tested.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

import numpy as np

from dynlib.compile.elementary import fused, larger, smaller

BOUNDS = {
    "exp": 1.1, "expm1": 2.0, "log": 1.0, "log1p": 1.5, "sin": 1.0, "cos": 1.0, "tan": 2.5, "tanh": 2.5, "sinh": 3.0,
    "cosh": 3.0,
}  # fmt: skip
"""Errors in units of the last place: sin, cos and tan for |x| ≤ 1e6."""

_LN2, _LN2_LOW = 0.6931471805599453, 2.3190468138462996e-17
_WHOLE = 6755399441056766.0
"""1.5·2⁵² + 1022: so large that a sum with it is a whole number."""
_LN2_HEAD, _LN2_TAIL = 6.93147180369123816490e-01, 1.90821492927058770002e-10
_PIO2, _PIO2_MID, _PIO2_LOW = 1.5707963267948966, 6.123233995736766e-17, -1.4973849048591833e-33


def bits_of(x: Any) -> Any:
    """The 64 bits of a float, as a whole number."""
    return np.float64(x).view(np.int64)


def float_of(bits: Any) -> Any:
    """The float with these bits."""
    return np.int64(bits).view(np.float64)


def stream(target: Any, row: Any, column: Any, first: Any, source: Any, start: Any, count: Any) -> None:
    """Copy `count` numbers, a multiple of 8, to `target[row, column, first:]`, past the caches where it can be done.

    Large recordings are written once and read much later: their lines need not be fetched before they are written.
    """
    target[row, column, first : first + count] = source[start : start + count]


def _series(r: Any) -> Any:
    """`(exp(r) - 1 - r)/r²` for |r| ≤ 0.347: the polynomial of degree 10 with the least error there, 1.4e-18."""
    z = r * r  # even and odd powers by themselves: two short chains instead of a long one
    even = fused(z, 2.0914686968086876e-09, 2.75572736431103e-07)
    odd = fused(z, 2.5105217004720745e-08, 2.7557255400206422e-06)
    even = fused(z, even, 2.4801587325547743e-05)
    odd = fused(z, odd, 0.00019841269874820627)
    even = fused(z, even, 0.0013888888888883748)
    odd = fused(z, odd, 0.008333333333326136)
    even = fused(z, even, 0.04166666666666667)
    odd = fused(z, odd, 0.1666666666666667)
    return fused(r, fused(r, even, odd), 0.5)


def _parts(x: Any) -> Any:
    """`(exp(r) - 1, 2**(k - 1))` with x = r + k ln 2. The sum with `_WHOLE` is rounded to a whole number, k, and has
    the bits of `k + 1022` at its end.
    """
    shifted = fused(x, 1.4426950408889634, _WHOLE)
    k = shifted - _WHOLE
    r = fused(-k, _LN2_LOW, fused(-k, _LN2, x))
    return fused(r * r, _series(r), r), float_of(bits_of(shifted) << 52)


def exp(x: Any) -> Any:
    """eˣ; 0 below the smallest normal number."""
    part, half = _parts(larger(smaller(x, 709.8), -708.0))  # what is no number stays so
    value = fused(part, half, half) * 2.0
    return 0.0 if x < -708.0 else value


def expm1(x: Any) -> Any:
    """eˣ - 1."""
    part, half = _parts(larger(smaller(x, 709.8), -60.0))
    value = fused(part, half, half - 0.5) * 2.0
    return x if abs(x) < 5.551115123125783e-17 else value


def _log_of(m: Any, k: Any, low: Any) -> Any:
    """`k ln 2 + log(m)` for m in [√½, √2]; `low` is a little that is added to the result."""
    f = m - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    even = w * fused(w, fused(w, 1.531383769920937332e-01, 2.222219843214978396e-01), 3.999999999940941908e-01)
    odd = fused(w, fused(w, 1.479819860511658591e-01, 1.818357216161805012e-01), 2.857142874366239149e-01)
    odd = z * fused(w, odd, 6.666666666666735130e-01)
    half = 0.5 * f * f
    return k * _LN2_HEAD - ((half - (s * (half + (even + odd)) + (k * _LN2_TAIL + low))) - f)


def _exponent(bits: Any) -> Any:
    return (bits - 0x3FE6A09E667F3BCD) >> 52


def log(x: Any) -> Any:
    """The natural logarithm."""
    small = x < 2.2250738585072014e-308
    bits = bits_of(x * 18014398509481984.0 if small else x)
    k = _exponent(bits)
    value = _log_of(float_of(bits - (k << 52)), float(k - 54 if small else k), 0.0)
    bounded = value if x < inf else x
    found = bounded if x > 0.0 else -inf if x == 0.0 else nan
    return found if x == x else x


def log1p(x: Any) -> Any:
    """log(1 + x)."""
    u = 1.0 + x
    rest = (x - (u - 1.0)) / u if x < 1.0 else (1.0 - (u - x)) / u
    bits = bits_of(u)
    k = _exponent(bits)
    value = _log_of(float_of(bits - (k << 52)), float(k), rest)
    bounded = value if x < inf else x
    found = bounded if x > -1.0 else -inf if x == -1.0 else nan
    exact = x if abs(x) < 5.551115123125783e-17 else found
    return exact if x == x else x


def _quarters(x: Any) -> Any:
    """How many quarter turns to take from x; 0 where it is not finite, or so large that its angle means nothing."""
    k = np.rint(x * 0.6366197723675814)
    return k if abs(k) < 1e15 else 0.0


def _rest(k: Any, x: Any) -> Any:
    """x - k π/2 as a sum of two numbers."""
    a = fused(-k, _PIO2, x)
    p = k * _PIO2_MID
    r = a - p
    shift = r - a
    lost = (a - (r - shift)) - (p + shift)
    return r, lost - (fused(k, _PIO2_MID, -p) + k * _PIO2_LOW)


def _sine(r: Any, low: Any) -> Any:
    """The sine of r + low for |r| ≤ π/4."""
    z = r * r
    q = fused(z, 1.58969099521155010221e-10, -2.50507602534068634195e-08)
    q = fused(z, q, 2.75573137070700676789e-06)
    q = fused(z, q, -1.98412698298579493134e-04)
    q = fused(z, q, 8.33333333332248946124e-03)
    v = z * r
    return r - ((z * (0.5 * low - v * q) - low) - v * -1.66666666666666324348e-01)


def _cosine(r: Any, low: Any) -> Any:
    """The cosine of r + low for |r| ≤ π/4."""
    z = r * r
    q = fused(z, -1.13596475577881948265e-11, 2.08757232129817482790e-09)
    q = fused(z, q, -2.75573143513906633035e-07)
    q = fused(z, q, 2.48015872894767294178e-05)
    q = fused(z, q, -1.38888888888741095749e-03)
    q = z * fused(z, q, 4.16666666666666019037e-02)
    half = 0.5 * z
    w = 1.0 - half
    return w + (((1.0 - w) - half) + (z * q - r * low))


def sin(x: Any) -> Any:
    """The sine."""
    k = _quarters(x)
    r, low = _rest(k, x)
    turn = int(k) & 3
    value = _sine(r, low) if turn & 1 == 0 else _cosine(r, low)
    found = value if turn & 2 == 0 else -value
    bounded = larger(-1.0, smaller(1.0, found))
    return (x if x == 0.0 else bounded) if abs(x) < inf else x - x


def cos(x: Any) -> Any:
    """The cosine."""
    k = _quarters(x)
    r, low = _rest(k, x)
    turn = (int(k) + 1) & 3
    value = _cosine(r, low) if turn & 1 == 1 else _sine(r, low)
    found = value if turn & 2 == 0 else -value
    return larger(-1.0, smaller(1.0, found)) if abs(x) < inf else x - x


def tan(x: Any) -> Any:
    """The tangent."""
    return sin(x) / cos(x)


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    e = expm1(-2.0 * abs(x))
    value = -e / (e + 2.0)
    found = value if x > 0.0 else -value
    return x if x == 0.0 or x != x else found


def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    a = abs(x)
    e = expm1(a if a < 40.0 else 40.0)
    w = exp(0.5 * a)
    value = 0.5 * (e + e / (e + 1.0)) if a < 22.0 else (0.5 * w) * w
    found = value if x > 0.0 else -value
    return x if x == 0.0 or x != x else found


def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    a = abs(x)
    e = exp(a if a < 40.0 else 40.0)
    w = exp(0.5 * a)
    value = 0.5 * e + 0.5 / e if a < 22.0 else (0.5 * w) * w
    return x if x != x else value


NAMES = frozenset(BOUNDS)
"""Functions that take the place of those of the C library."""
