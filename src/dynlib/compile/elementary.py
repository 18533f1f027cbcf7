"""The functions that generated code calls, with one meaning interpreted and compiled.

Transcendental functions come from the C library in both modes, and return what C returns (inf and NaN instead of
exceptions). A float32 argument is widened, computed in float64 and rounded. This is the interpreted meaning; the
compiled one is in `native/translate.py` and must agree to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from dynlib.compile.differences import rescaled
from dynlib.compile.factorization import (
    band_factor,
    band_product,
    band_solve,
    full_factor,
    full_product,
    full_solve,
    magnitude,
    sparse_factor,
    sparse_product,
    sparse_solve,
)
from dynlib.spec.expressions import C_FUNCTIONS

_POLES: dict[str, Callable[[float], float]] = {
    "log": lambda x: -math.inf if x == 0 else math.nan,
    "log2": lambda x: -math.inf if x == 0 else math.nan,
    "log10": lambda x: -math.inf if x == 0 else math.nan,
    "log1p": lambda x: -math.inf if x == -1 else math.nan,
    "atanh": lambda x: math.copysign(math.inf, x) if abs(x) == 1 else math.nan,
    "sinh": lambda x: math.copysign(math.inf, x),
    "exp": lambda x: math.inf,
    "expm1": lambda x: math.inf,
    "cosh": lambda x: math.inf,
}


def _nan(x: float) -> float:
    return math.nan


def _like(x: Any, value: float) -> Any:
    return np.float32(value) if isinstance(x, np.float32) else np.float64(value)


def _c_function(name: str) -> Callable[[Any], Any]:
    compute: Callable[[float], float] = getattr(math, name)
    pole = _POLES.get(name, _nan)

    def function(x: Any) -> Any:
        try:
            value = compute(float(x))
        except (ValueError, OverflowError):
            value = pole(float(x))
        return _like(x, value)

    function.__name__ = function.__qualname__ = name
    return function


exp, expm1, log, log2, log10, log1p = map(_c_function, ("exp", "expm1", "log", "log2", "log10", "log1p"))
sin, cos, tan, asin, acos, atan = map(_c_function, ("sin", "cos", "tan", "asin", "acos", "atan"))
sinh, cosh, tanh, asinh, acosh, atanh = map(_c_function, ("sinh", "cosh", "tanh", "asinh", "acosh", "atanh"))
erf, erfc = map(_c_function, ("erf", "erfc"))


def power(x: Any, y: Any) -> Any:
    """`pow` of the C library."""
    a, b = float(x), float(y)
    try:
        value = math.pow(a, b)
    except OverflowError:
        value = -math.inf if a < 0 and b % 2 == 1 else math.inf
    except ValueError:
        odd = b % 2 == 1
        value = math.copysign(math.inf, a) if a == 0 and odd else math.inf if a == 0 else math.nan
    return _like(x, value)


def exp2(x: Any) -> Any:
    """2 to the power x; generated code uses it for powers of constants 2**n, as compilers do."""
    a = float(x)
    return _like(x, math.exp2(a) if a < 1024.0 or a != a else math.inf)


def atan2(y: Any, x: Any) -> Any:
    """Angle of the point (x, y)."""
    return _like(y, math.atan2(float(y), float(x)))


def fused(x: Any, y: Any, z: Any) -> Any:
    """x·y + z, rounded once."""
    a, b, c = float(x), float(y), float(z)
    value = a * b + c
    if math.isfinite(a) and math.isfinite(b) and math.isfinite(c):
        (m, p), (n, q), (k, r) = a.as_integer_ratio(), b.as_integer_ratio(), c.as_integer_ratio()
        exact = m * n * r + k * p * q
        if exact != 0:  # a zero has its sign from the plain sum
            try:
                value = exact / (p * q * r)  # Python rounds the quotient of whole numbers correctly
            except OverflowError:
                value = math.inf if exact > 0 else -math.inf
    elif math.isfinite(a) and math.isfinite(b):
        value = c  # also where the product alone is beyond all numbers
    return _like(x, value)


def chains_of(products: int) -> int:
    """How many partial sums `dot` has: a processor can follow some side by side."""
    return 1 if products < 8 else 2 if products < 16 else 4


def dot(*factors: Any) -> Any:
    """Σ factors[2j]·factors[2j + 1], every product added with one rounding.

    Product j goes to partial sum j modulo their number; the partial sums are added in pairs.
    """
    wide = [np.float64(x) for x in factors]
    chains = chains_of(len(wide) // 2)
    sums = [wide[2 * c] * wide[2 * c + 1] for c in range(chains)]
    for j in range(chains, len(wide) // 2):
        sums[j % chains] = fused(wide[2 * j], wide[2 * j + 1], sums[j % chains])
    while len(sums) > 1:
        sums = [a + b for a, b in zip(sums[::2], sums[1::2], strict=True)]
    return _like(factors[0], sums[0])


# The functions below are plain arithmetic: the same text is compiled.


def sqrt(x: Any) -> Any:
    """Square root, correctly rounded."""
    return np.sqrt(x)


def floor(x: Any) -> Any:
    """Largest whole number not above x."""
    return np.floor(x)


def ceil(x: Any) -> Any:
    """Smallest whole number not below x."""
    return np.ceil(x)


def trunc(x: Any) -> Any:
    """Whole number next to x towards zero."""
    return np.trunc(x)


def rint(x: Any) -> Any:
    """Nearest whole number, ties to even."""
    return np.rint(x)


def copysign(x: Any, y: Any) -> Any:
    """Magnitude of x with the sign of y."""
    return np.copysign(x, y)


def smaller(x: Any, y: Any) -> Any:
    """The smaller one; x if they cannot be compared."""
    return y if y < x else x


def larger(x: Any, y: Any) -> Any:
    """The larger one; x if they cannot be compared."""
    return y if y > x else x


def hypot(x: Any, y: Any) -> Any:
    """√(x² + y²), scaled against overflow."""
    a, b = abs(x), abs(y)
    big, small = larger(a, b), smaller(a, b)
    if big == 0 or big != big or small != small or big - big != 0:
        return big + small
    ratio, one = small / big, big / big
    return big * np.sqrt(ratio * ratio + one)


def modulo(x: Any, y: Any) -> Any:
    """Remainder with the sign of y, as Python's %."""
    rest = np.fmod(x, y)
    if rest != 0 and (rest < 0) != (y < 0):
        rest = rest + y
    return rest


def floor_divide(x: Any, y: Any) -> Any:
    """Python's //."""
    return np.rint((x - modulo(x, y)) / y)


_M = 0xFFFFFFFF


def _high(a: Any, b: Any) -> Any:
    """The upper half of the product of two 32-bit numbers, in steps that fit 64 bits with sign."""
    return ((a >> 16) * b + (((a & 0xFFFF) * b) >> 16)) >> 16


def _low(a: Any, b: Any) -> Any:
    """The lower half of the product."""
    rest = (a & 0xFFFF) * b
    return ((((a >> 16) * b + (rest >> 16)) & 0xFFFF) << 16) | (rest & 0xFFFF)


def philox(seed: Any, stream: Any, step: Any, index: Any) -> Any:
    """Four random 32-bit words: Philox4x32-10 (Salmon et al., SC 2011) with the seed as key.

    The counter is (step, index, stream), so the numbers of a step are a function of where the run stands.
    """
    k0, k1 = seed & _M, (seed >> 32) & _M
    a, b, c, d = step & _M, (step >> 32) & _M, index & _M, stream & _M
    for _ in range(10):
        a, b, c, d = (
            _high(0xCD9E8D57, c) ^ b ^ k0,
            _low(0xCD9E8D57, c),
            _high(0xD2511F53, a) ^ d ^ k1,
            _low(0xD2511F53, a),
        )
        k0, k1 = (k0 + 0x9E3779B9) & _M, (k1 + 0xBB67AE85) & _M
    return a, b, c, d


def _unit(high: Any, low: Any) -> Any:
    """A number inside (0, 1) from the upper 26 bits of two words."""
    return (float((high >> 6) * 67108864 + (low >> 6)) + 0.5) / 4503599627370496.0


def rand(seed: Any, stream: Any, step: Any, index: Any) -> Any:
    """A uniform random number inside (0, 1)."""
    a, b, _, _ = philox(int(seed), int(stream), int(step), int(index))
    return np.float64(_unit(a, b))


def randn(seed: Any, stream: Any, step: Any, index: Any) -> Any:
    """A normal random number (Box & Muller, Ann. Math. Stat. 29, 1958)."""
    a, b, c, d = philox(int(seed), int(stream), int(step), int(index))
    return np.sqrt(-2.0 * log(_unit(a, b))) * cos(6.283185307179586 * _unit(c, d))


PLAIN: tuple[Callable[..., Any], ...] = (
    sqrt, floor, ceil, trunc, rint, copysign, smaller, larger, hypot, modulo, floor_divide,
    _high, _low, philox, _unit, rand, randn,
    magnitude, full_factor, full_solve, full_product, band_factor, band_solve, band_product, rescaled,
    sparse_factor, sparse_solve, sparse_product,
)  # fmt: skip
"""Functions whose Python text is also their compiled meaning."""

NAMES = frozenset(
    {*C_FUNCTIONS, "power", "exp2", "atan2", "fused", "dot"}
    | {f.__name__ for f in PLAIN if not f.__name__.startswith("_")}
)
"""Every name that generated code may import from here."""
