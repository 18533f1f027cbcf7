"""The back-end against the interpreter: the same Python text, run as Python and as machine code, to the bit.

Where the two differ on purpose, the programs here do not go; generated code does not either:

- Whole numbers have 64 bits and wrap, as NumPy's; Python's own grow.
- A whole number divided by 0 gives 0 for `//` and `%`, as NumPy's; Python's own raise an exception. So do its floats.
- A Python number beside a float32 makes a float64; under NumPy 2 it becomes a float32.
- `int` of what has no place in 64 bits is some number; Python raises an exception.
- A variable that no assignment has reached is 0, where ways meet it has the type in which all its values fit, and a
  chain of comparisons computes all its parts.
- The sign and the digits of a NaN are not compared: they differ between operands in another order.
"""

from __future__ import annotations

import gc
import itertools
import math
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlib.compile import elementary
from dynlib.compile.cache import Store, load_module, unsealed
from dynlib.compile.native import loading, machine
from dynlib.compile.native.function import NativeFunction, compile_module
from dynlib.compile.native.types import F64, I64, TranslationError
from dynlib.spec.expressions import C_FUNCTIONS

_COUNT = itertools.count()
_FUNCTIONS = sorted(elementary.NAMES)
_HEAD = f"import numpy as np\nfrom math import inf\nfrom dynlib.compile.elementary import {', '.join(_FUNCTIONS)}\n"
EDGES = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, 3.0, -3.0, 1e-3, 7.25, 1024.0, 1e15, 4503599627370497.5, 1e300, -1e300,
    5e-324, -5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 709.9, -745.2, math.inf, -math.inf, math.nan,
)  # fmt: skip
WHOLE = (0, 1, -1, 2, -2, 3, 7, -7, 62, 63, 2**31, -(2**31), 2**53 + 1, 2**63 - 1, -(2**63), -(2**63) + 1)


def module_of(source: str, folder: Path) -> ModuleType:
    return load_module(_HEAD + source, f"native_{next(_COUNT)}", True, Store(folder))


def native(source: str, folder: Path, *, contract: bool = False) -> Any:
    """The compiled function `kernel`."""
    module = module_of(source, folder)
    compile_module(module, _HEAD + source, contract=contract, store=Store(folder))
    return module.kernel


def both(source: str, folder: Path) -> tuple[Any, Any]:
    """The function `kernel`, interpreted and compiled."""
    return module_of(source, folder).kernel, native(source, folder)


def bits(value: Any) -> bytes:
    """The bytes of a number or an array; every NaN has the same."""
    found = np.array(value)
    if found.dtype.kind == "f":
        found = np.where(np.isnan(found), np.full_like(found, np.nan), found)
    return found.tobytes()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("native")


# -- random programs -------------------------------------------------------------------------------------------------


class Programs:
    """Writes a random program of the language: what it reads, it has always given a value of the right kind."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.loops: list[str] = []
        self.count = 0

    def pick(self, *choices: str) -> str:
        return self.draw.choice(choices)

    def whole(self, depth: int) -> str:
        if depth == 0 or self.draw.random() < 0.2:
            loop = [self.draw.choice(self.loops)] if self.loops else []
            return self.pick("i0", "i1", "i2", str(self.draw.randrange(-4, 9)), f"m[{self.place(0)}]", *loop)
        a, b = self.whole(depth - 1), self.whole(depth - 1)
        return self.pick(
            f"(np.int64({a}) {self.pick('+', '-', '*', '//', '%')} {b})", f"(-np.int64({a}))", f"abs(np.int64({a}))",
            f"(np.int64({a}) {self.pick('&', '|', '^')} {b})", f"(np.int64({a}) {self.pick('<<', '>>')} 3)",
            f"{self.pick('min', 'max')}(np.int64({a}), np.int64({b}))",
            f"np.int64({a} if {self.test(depth - 1)} else {b})",
            f"picked({a}, {b})", "len(x)", f"w[{self.place(0)}]",
        )  # fmt: skip

    def place(self, depth: int) -> str:
        """An index below 4."""
        return f"{self.whole(depth - 1)} % 4" if depth > 0 else self.pick("0", "1", "2", "3", "i0 % 4", "i1 % 4")

    def real(self, depth: int) -> str:
        if depth == 0 or self.draw.random() < 0.2:
            edge = self.draw.choice([e for e in EDGES if math.isfinite(e)])
            return self.pick(
                "f0", "f1", "f2", f"np.float64({edge!r})", f"x[{self.place(depth)}]",
                f"g[{self.place(0)}, {self.place(0)} % 3]",
                "np.float64(v)", "np.float64(s0)",
            )  # fmt: skip
        a, b = self.real(depth - 1), self.real(depth - 1)
        return self.pick(
            f"({a} {self.pick('+', '-', '*', '/', '%', '**')} {b})", f"({a} {self.pick('+', '-', '*', '/')} {b})",
            f"(-{a})", f"abs({a})", f"{self.pick('min', 'max')}({a}, {b})", f"({a} if {self.test(depth - 1)} else {b})",
            f"mixed({a}, {self.whole(depth - 1)})", f"np.float64({self.whole(depth - 1)})",
            f"row_sum(g[{self.place(0)}])",
            f"row_sum(x[1:{self.pick('1', '3', '4')}])", f"({a} * {self.whole(depth - 1)})",
            f"{self.pick('sqrt', 'floor', 'rint', 'exp', 'sin', 'tanh')}({a})", f"fused({a}, {b}, {self.real(0)})",
            f"{self.pick('modulo', 'copysign', 'hypot', 'power')}({a}, {b})",
        )  # fmt: skip

    def narrow(self, depth: int) -> str:
        if depth == 0:
            return self.pick("s0", "s1", f"r[{self.place(0)}]", f"np.float32({self.real(0)})")
        a, b = self.narrow(depth - 1), self.narrow(depth - 1)
        return self.pick(
            f"({a} {self.pick('+', '-', '*', '/', '%')} {b})", f"(-{a})", f"abs({a})", f"max({a}, {b})",
            f"({a} if {self.test(0)} else {b})", f"{self.pick('sqrt', 'exp', 'cos', 'rint')}({a})",
        )  # fmt: skip

    def test(self, depth: int) -> str:
        kind = self.pick("real", "whole", "chain", "logic", "not", "flag", "narrow")
        order = self.pick("<", "<=", ">", ">=", "==", "!=")
        if depth == 0 or kind == "flag":
            return self.pick("b0", "b1", f"i0 {order} i1", f"f0 {order} f1")
        if kind == "chain":
            return f"({self.real(depth - 1)} {order} {self.real(depth - 1)} {self.pick('<', '!=')} {self.whole(0)})"
        if kind == "logic":
            return f"({self.test(depth - 1)} {self.pick('and', 'or')} {self.test(depth - 1)})"
        if kind == "not":
            return f"(not {self.test(depth - 1)})"
        make = {"real": self.real, "whole": self.whole, "narrow": self.narrow}[kind]
        return f"{make(depth - 1)} {order} {make(depth - 1)}"

    def statement(self, depth: int) -> list[str]:
        kinds = ["whole", "real", "narrow", "flag", "store", "swap", "change", "fill", "call", "add", "rest", "alias"]
        kinds += ["if", "for", "while", "flat", "if", "for"] if depth > 0 else []
        if self.loops:
            kinds += ["leave", "leave"]
        i, f, s = f"i{self.draw.randrange(3)}", f"f{self.draw.randrange(3)}", f"s{self.draw.randrange(2)}"
        match self.draw.choice(kinds):
            case "whole":
                return [f"{i} = np.int64({self.whole(2)})"]
            case "real":
                return [f"{f} = {self.real(3)}"]
            case "narrow":
                return [f"{s} = np.float32({self.narrow(2)})"]
            case "flag":
                return [f"b{self.draw.randrange(2)} = {self.test(2)}"]
            case "store":
                return [self.pick(f"x[{self.place(2)}] = {self.real(2)}",
                                  f"g[{self.place(0)}, {self.place(0)} % 3] = {f}",
                                  f"m[{self.place(0)}] = np.int64({self.whole(1)})", f"r[{self.place(0)}] = {s}",
                                  f"w[{self.place(1)}] = {self.whole(1)} % 100",
                                  f"c[{self.place(0)}] = {self.whole(1)} & 255",
                                  f"x[{self.place(0)}] = {self.whole(1)}", f"z[{self.place(0)}] = {f}")]  # fmt: skip
            case "swap":
                p, q = self.place(0), self.place(0)
                return [
                    self.pick(
                        "f0, f1 = f1, f0", f"x[{p}], x[{q}] = x[{q}], x[{p}]", "i0, f2 = i1, f0", "f0, i1 = two(f1, i0)"
                    )
                ]
            case "change":
                return [
                    f"v = {self.pick(self.real(1), f'np.int64({self.whole(1)})', s, f'np.float64({self.real(1)})')}"
                ]
            case "fill":
                return [self.pick(f"z[:] = {f}", f"x[1:3] = {f}", f"g[:] = {f}", f"x[i0 % 2:2] = {self.real(1)}")]
            case "call":
                return [self.pick("shift(x, 4)", f"shift(g[{self.place(0)}], 3)", "shift(x[1:4], 3)", "shift(z, 4)")]
            case "add":
                return [self.pick(f"{f} {self.pick('+', '-', '*', '/')}= {self.real(1)}", f"x[{self.place(0)}] *= {f}",
                                  f"m[{self.place(0)}] += 3", f"{f} += {i}")]  # fmt: skip
            case "rest":
                return [f"if {self.test(2)}:", f"    return {self.pick(self.real(1), f, i)}"]
            case "alias":
                return [self.pick("part = x[1:4]", "part = g[1]", "part = x.reshape((2, 2))[1]"), f"part[1] = {f}"]
            case "leave":
                return [f"if {self.test(1)}:", f"    {self.pick('break', 'continue')}"]
            case "if":
                lines = [f"if {self.test(2)}:", *self.block(depth - 1)]
                if self.draw.random() < 0.4:
                    lines += [f"elif {self.test(1)}:", *self.block(depth - 1)]
                return lines + (["else:", *self.block(depth - 1)] if self.draw.random() < 0.6 else [])
            case "for":
                self.count += 1
                head = self.pick("4", "1, 4", "0, 7, 3", "5, 0, -2", "3, -1, -1", "i0 % 5", "2, 2", f"{i} % 3, len(x)")
                return self.inside(f"for j{self.count} in range({head}):", [f"j{self.count}"], depth)
            case "flat":
                self.count += 1
                return self.inside(
                    f"for e{self.count} in {self.pick('x', 'g', 'z')}.flat:", [], depth, f"f0 += e{self.count}"
                )
            case "while":
                self.count += 1
                n = f"n{self.count}"
                test = self.pick("True", f"{n} < 3", self.test(1))
                return [
                    f"{n} = 0",
                    *self.inside(f"while {test}:", [n], depth, f"{n} += 1", f"if {n} > 4:", "    break"),
                ]
        raise AssertionError

    def inside(self, head: str, loops: list[str], depth: int, *first: str) -> list[str]:
        self.loops += loops
        body = self.block(depth - 1)
        self.loops = [name for name in self.loops if name not in loops]
        return [head, *(f"    {line}" for line in first), *body]

    def block(self, depth: int) -> list[str]:
        return [f"    {line}" for _ in range(self.draw.randrange(1, 4)) for line in self.statement(depth)]

    def program(self) -> str:
        lines = [line for _ in range(self.draw.randrange(2, 8)) for line in self.statement(2)]
        body = "\n".join(f"    {line}" for line in lines)
        return f"""
def picked(a, b):
    if a > b:
        return np.int64(a) - 1
    return np.int64(b)

def mixed(a, k):
    if k > 2:
        return a * k
    v = k
    if a > 1.0:
        v = a
    return np.float64(v)

def two(a, k):
    if a < 0.0:
        return -a, np.int64(k)
    return a, np.int64(k) + 1

def row_sum(row):
    total = np.float64(0.0)
    for k in range(len(row)):
        total += row[k]
    return total

def shift(row, n):
    first = row[0]
    for k in range(n - 1):
        row[k] = row[k + 1]
    row[n - 1] = first

def kernel(f0, f1, i0, i1, x, g, m, w, c, r):
    i2 = np.int64(7)
    f2 = np.float64(0.25)
    s0 = np.float32(1.5)
    s1 = np.float32(f0)
    b0 = i0 > 2
    b1 = False
    v = np.int64(1)
    z = np.zeros(4)
    part = x[0:3]
{body}
    for k in range(4):
        x[k] += z[k]
    f1 = np.float64(f1) + f2 + np.float64(i2) + np.float64(v) + np.float64(s0) * np.float64(s1) + np.float64(part[0])
    return np.float64(f1 + i0 + i1 + (1.0 if b0 or b1 else 0.0))
"""


def arguments(draw: random.Random) -> tuple[Any, ...]:
    reals = [np.float64(draw.choice(EDGES)) for _ in range(6)]
    whole = [np.int64(draw.choice(WHOLE)) for _ in range(6)]
    return (
        reals[0], reals[1], whole[0], whole[1], np.array(reals[2:]), np.array([*EDGES[:5], *reals, 2.0]).reshape(4, 3),
        np.array(whole[2:]), np.array([1, -2, 2**31 - 1, 0], np.int32), np.array([0, 255, 7, 1], np.uint8),
        np.array([0.1, -3.0, 1e30, 1e-40], np.float32),
    )  # fmt: skip


def compare(interpreted: Any, compiled: Any, given: tuple[Any, ...]) -> None:
    """What both return, and what both leave in the arrays."""
    mine, other = (tuple(a.copy() for a in given) for _ in range(2))
    with np.errstate(all="ignore"):
        expected = interpreted(*mine)
    found = compiled(*other)
    assert bits(found) == bits(type(found)(expected)), (found, expected)
    for a, b in zip(mine, other, strict=True):
        assert bits(a) == bits(b), (a, b)


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_random_programs_give_the_same_bits(folder: Path, seed: int) -> None:
    draw = random.Random(seed)
    source = Programs(draw).program()
    interpreted, compiled = both(source, folder)
    for _ in range(8):
        compare(interpreted, compiled, arguments(draw))


# -- each operation --------------------------------------------------------------------------------------------------

ONE = (*C_FUNCTIONS, "exp2", "sqrt", "floor", "ceil", "trunc", "rint", "np.floor", "abs", "-", "int")
TWO = ("atan2", "power", "modulo", "floor_divide", "hypot", "smaller", "larger", "copysign", "np.fmod", "np.nextafter",
       "min", "max", "+", "-", "*", "/", "%", "**", "<", "<=", ">", ">=", "==", "!=")  # fmt: skip
INTEGERS = ("+", "-", "*", "//", "%", "/", "&", "|", "^", "min", "max", "<", "==")


def written(name: str, count: int) -> str:
    names = ["x", "y", "z"][:count]
    return f"x {name} y" if count == 2 and not name[0].isalpha() else f"{name}({', '.join(names)})"


def applied(names: tuple[str, ...], count: int) -> str:
    """A kernel that gives what every function of these makes of its arguments."""
    lines = [f"    out[{k}] = {written(name, count)}" for k, name in enumerate(names)]
    return f"def kernel({', '.join(['x', 'y', 'z'][:count])}, out):\n" + "\n".join(lines) + "\n    return 0\n"


def each(interpreted: Any, compiled: Any, names: tuple[str, ...], grid: list[tuple[Any, ...]], kind: type) -> None:
    for values in grid:
        expected: Any = np.zeros(len(names), kind)
        found: Any = np.zeros(len(names), kind)
        with np.errstate(all="ignore"):
            interpreted(*values, expected)
        compiled(*values, found)
        for k, name in enumerate(names):
            assert bits(expected[k]) == bits(found[k]), (name, values, expected[k], found[k])


@pytest.mark.parametrize(("names", "count"), [(ONE[:-1], 1), (TWO, 2), (("fused",), 3)])
@pytest.mark.parametrize("narrow", [False, True])
def test_functions_of_floats(folder: Path, names: tuple[str, ...], count: int, narrow: bool) -> None:
    """Of all edges with one another: zeros with sign, the smallest and largest numbers, infinities, NaN, ties."""
    source = applied(names, count)
    if narrow:
        names = tuple(name for name in names if name not in ("np.nextafter", "**", "exp2"))
        casts = "".join(f"    {x} = np.float32({x})\n" for x in ["x", "y", "z"][:count])
        source = applied(names, count).replace("):\n", f"):\n{casts}", 1)
    edges = EDGES if count < 3 else EDGES[::2]
    grid = [tuple(map(np.float64, values)) for values in itertools.product(edges, repeat=count)]
    each(*both(source, folder), names, grid, np.float32 if narrow else np.float64)


def test_functions_of_whole_numbers(folder: Path) -> None:
    """Floor division and remainder of both signs, by 0, and of the smallest number by -1."""
    grid = [tuple(map(np.int64, values)) for values in itertools.product(WHOLE, repeat=2)]
    whole = tuple(name for name in INTEGERS if name != "/")
    each(*both(applied(whole, 2), folder), whole, grid, np.int64)
    each(*both(applied(("/",), 2), folder), ("/",), grid, np.float64)
    constants = (1, 2, 3, 7, -1, -2, -7, 2**62, -(2**63))
    names = (*(f"x {op} ({c})" for op in ("//", "%") for c in constants), "x << 63", "x >> 63", "abs(x)", "-x")
    source = "def kernel(x, out):\n" + "".join(f"    out[{k}] = {n}\n" for k, n in enumerate(names)) + "    return 0\n"
    each(*both(source, folder), names, [(np.int64(w),) for w in WHOLE], np.int64)


def test_whole_numbers_of_floats(folder: Path) -> None:
    source = "def kernel(x):\n    return int(x)\n"
    interpreted, compiled = both(source, folder)
    for x in (0.0, -0.0, 0.9, -0.9, 1e15, -(2.0**63), 2.0**62):
        assert compiled(x) == interpreted(x)
    for x in (math.nan, math.inf, 1e300):
        assert isinstance(compiled(x), int)  # some number, and the process lives


@pytest.mark.parametrize("products", [1, 2, 7, 8, 15, 16, 33])
def test_dot(folder: Path, products: int) -> None:
    """The same partial sums, also where they cancel."""
    terms = ", ".join(f"a[{k}]" for k in range(2 * products))
    interpreted, compiled = both(f"def kernel(a):\n    return dot({terms})\n", folder)
    draw = np.random.default_rng(products)
    for scale in (0.0, 3.0, 150.0):
        a = draw.normal(size=2 * products) * 10.0 ** draw.uniform(-scale, scale, size=2 * products)
        with np.errstate(all="ignore"):
            assert bits(compiled(a)) == bits(interpreted(a))


def test_fused_beyond_all_numbers() -> None:
    assert elementary.fused(1e300, 1e300, -1.0) == math.inf
    assert elementary.fused(-1e300, 1e300, 1.0) == -math.inf
    assert elementary.fused(1e300, 1e300, -math.inf) == -math.inf


def test_a_loop_ends_where_its_step_leads_beyond_64_bits(folder: Path) -> None:
    source = """
def kernel(start, stop):
    n = 0
    for k in range(start, stop, 5):
        n += 1
        if n > 10:
            break
    for k in range(stop, start, -5):
        n += 100
        if n > 1000:
            break
    return n
"""
    interpreted, compiled = both(source, folder)
    top = 2**63 - 1
    cases = ((top - 12, top), (-(2**63), -(2**63) + 12), (3, 3), (0, 15), (0, 16), (-(2**63), top), (top, 0))
    for start, stop in cases:
        assert compiled(start, stop) == interpreted(start, stop)


def test_a_type_that_settles_late(folder: Path) -> None:
    """A float comes to the first of many variables only after as many turns as there are variables."""
    names = [f"a{k}" for k in range(30)]
    moves = "".join(f"        {a} = {b}\n" for a, b in itertools.pairwise(names))
    begin = "".join(f"    {name} = 1\n" for name in names)
    turn = f"    for k in range(n):\n{moves}        a29 = 0.5\n"
    source = f"def kernel(n):\n{begin}{turn}    return a0 * 1.0\n"
    interpreted, compiled = both(source, folder)
    assert [compiled(n) for n in (0, 29, 30, 31)] == [interpreted(n) for n in (0, 29, 30, 31)] == [1.0, 1.0, 0.5, 0.5]


def test_contracted_code_halves_once_and_strict_code_as_often_as_is_written(folder: Path) -> None:
    source = "def kernel(h, k):\n    return h * (0.5 * k)\n"
    assert native(source, folder)(2.0, 5e-324) == 0.0
    assert native(source, folder, contract=True)(2.0, 5e-324) == 5e-324
    assert native(source, folder, contract=True)(0.3, 0.7) == 0.3 * (0.5 * 0.7)


def test_contracted_code_fuses_and_strict_code_does_not(folder: Path) -> None:
    source = "def kernel(x, y, z):\n    return x * y + z\n"
    fuses = {contract: "fma" in assembly(source, folder, contract) for contract in (True, False)}
    can = "+fma" in machine.features() or "neon" in machine.features()
    assert fuses == {True: can, False: False}
    eps = 2.0**-30
    assert native(source, folder)(1.0 + eps, 1.0 - eps, -1.0) == 0.0


def assembly(source: str, folder: Path, contract: bool) -> str:
    function = native(source, folder, contract=contract)
    ir = function.ir((F64, F64, F64))
    return machine.assembly(ir).replace("vfmadd", "fma")


# -- the entry -------------------------------------------------------------------------------------------------------

ENTRY = """
def kernel(a, b, x, n):
    total = 0.0
    for v in b.flat:
        total += v
    a[n] = total * x
    return total
"""


def good() -> tuple[Any, ...]:
    return np.zeros(3), np.ones((2, 2), np.float32), 1.5, 2


REFUSED = {
    "too few arguments": (lambda a, b, x, n: (a, b, x), TypeError, "takes 4 arguments"),
    "no arguments": (lambda a, b, x, n: (), TypeError, "takes 4 arguments"),
    "too many arguments": (lambda a, b, x, n: (a, b, x, n, n), TypeError, "takes 4 arguments"),
    "another dtype of the same size": (
        lambda a, b, x, n: (a.view(np.int64), b, x, n),
        TypeError,
        "argument 1 .* float64",
    ),
    "unsigned": (lambda a, b, x, n: (a, b.view(np.uint32), x, n), TypeError, "argument 2 .* float32 .* 2 dimensions"),
    "another order of bytes": (lambda a, b, x, n: (a.astype(">f8"), b, x, n), TypeError, "argument 1"),
    "another size": (lambda a, b, x, n: (a, b.astype(float), x, n), TypeError, "argument 2"),
    "another number of dimensions": (lambda a, b, x, n: (a, b[0], x, n), TypeError, "argument 2"),
    "not contiguous": (lambda a, b, x, n: (np.zeros(6)[::2], b, x, n), ValueError, "contiguous"),
    "in Fortran's order": (lambda a, b, x, n: (a, np.ones((3, 2), np.float32).T, x, n), ValueError, "contiguous"),
    "bytes": (lambda a, b, x, n: (b"12345678", b, x, n), BufferError, "not writable"),
    "None for an array": (lambda a, b, x, n: (None, b, x, n), TypeError, "bytes-like"),
    "None for a number": (lambda a, b, x, n: (a, b, None, n), TypeError, "real number"),
    "a float for a whole number": (lambda a, b, x, n: (a, b, x, 1.5), TypeError, "integer"),
    "a whole number of more than 64 bits": (lambda a, b, x, n: (a, b, x, 2**63), OverflowError, "too (big|large)"),
    "objects": (lambda a, b, x, n: (np.array([None] * 3), b, x, n), TypeError, "argument 1"),
}


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused_and_let_go(folder: Path, change: tuple[Any, Any, str]) -> None:
    """Nothing is written, no buffer stays taken, no reference is lost, and the next call works."""
    make, kind, message = change
    function = native(ENTRY, folder)
    assert function(*good()) == 4.0
    wrong = make(*good())
    with pytest.raises(kind, match=message):
        function(*wrong)
    arrays = [value for value in wrong if isinstance(value, np.ndarray)]
    before = [sys.getrefcount(value) for value in arrays]
    for _ in range(100):
        with pytest.raises(kind):
            function(*wrong)
    gc.collect()
    assert [sys.getrefcount(value) for value in arrays] == before
    assert [a.tobytes() for a in arrays] == [a.tobytes() for a in make(*good()) if isinstance(a, np.ndarray)]
    assert function(*good()) == 4.0


def test_buffers_are_let_go(folder: Path) -> None:
    """An array of bytes can be resized only while nobody has a view of it."""
    function = native("def kernel(a, x):\n    a[0] = 1\n    return x\n", folder)
    function(np.zeros(3, np.uint8), 1.0)
    room = bytearray(3)
    assert function(room, 2.0) == 2.0
    with pytest.raises(TypeError):
        function(room, None)
    room.append(1)
    assert room == b"\x01\x00\x00\x01"


WRITING = (
    "a[0] = 1.0", "a[:] = 1.0", "b = a[1:3]\n    b[0] = 1.0", "set(a)", "set(a.reshape((1, 3))[0])", "a[1] += 1.0",
    "b = np.zeros(3)\n    for k in range(2):\n        b[0] = 1.0\n        b = a", "a[0], x = 1.0, 2.0",
)  # fmt: skip


@pytest.mark.parametrize("how", WRITING)
def test_what_is_written_to_must_not_be_read_only(folder: Path, how: str) -> None:
    """However the array is reached; one that is only read may be read-only."""
    function = native(
        f"def set(a):\n    a[0] = 1.0\n\ndef kernel(a, r):\n    x = r[0]\n    {how}\n    return x\n", folder
    )
    locked = np.zeros(3)
    locked.setflags(write=False)
    assert function(np.zeros(3), locked) == function(np.ones(3), np.zeros(3))
    with pytest.raises(ValueError, match="read-only"):
        function(locked, np.zeros(3))
    assert not locked.any()


def test_calls_leave_no_objects_behind(folder: Path) -> None:
    function = native(ENTRY, folder)
    given = good()
    before = [sys.getrefcount(value) for value in given[:3]]
    kept = [function(*given) for _ in range(1000)]
    assert [sys.getrefcount(value) for value in given[:3]] == before
    plain = [float("4.5")]
    counts = [sys.getrefcount(kept[0]), sys.getrefcount(plain[0])]
    assert counts[0] == counts[1]


def test_others_run_meanwhile(folder: Path) -> None:
    """While one thread is in the code, the others have the interpreter."""
    source = """
def kernel(a, n):
    for k in range(n):
        a[0] = np.sqrt(a[0] + 1.0)
    return 0
"""
    function = native(source, folder)
    function(np.zeros(1), 1)
    turns, marks = [0], []

    def work() -> None:
        marks.append(turns[0])
        function(np.zeros(1), 10_000_000)
        marks.append(turns[0])

    interval = sys.getswitchinterval()
    sys.setswitchinterval(30.0)  # no thread is interrupted: it gives up the lock, or it does not
    try:
        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            turns[0] += 1
            time.sleep(0.0)
        thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert marks[1] > marks[0]


def test_a_signal_that_waits_is_heard_after_the_call(folder: Path) -> None:
    """The call gives its whole result; Python handles the signal when it is back."""
    function = native("def kernel(a):\n    a[0] += 1.0\n    return a[0]\n", folder)
    a, heard = np.zeros(1), []
    before = signal.signal(signal.SIGUSR1, lambda *_: heard.append(a[0]))
    try:
        for _ in range(1000):
            signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
            function(a)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert a[0] == 1000.0
    assert len(heard) >= 1


# -- arrays ----------------------------------------------------------------------------------------------------------


def test_large_arrays_are_freed(folder: Path) -> None:
    """Ten thousand calls, each with 8 MB, on every way out."""
    source = """
def deep(x):
    room = np.zeros(1000)
    more = np.zeros(1000000)
    more[999999] = x
    room[999] = x
    if x > 0.5:
        return more[999999] + room[999]
    return more[0]

def kernel(x):
    total = 0.0
    for k in range(5):
        total += deep(x)
    return total
"""
    function = native(source.replace("1000000", "100000").replace("999999", "99999"), folder)
    assert (function(1.0), function(0.0)) == (10.0, 0.0)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for k in range(2000):
        function(float(k % 2))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 50  # MB; nothing freed would be 8000


def test_many_arrays_fit_a_small_stack(folder: Path) -> None:
    """A hundred arrays of 64 kB in a thread whose stack is 256 kB."""
    lines = [f"    a{k} = np.zeros(8000)\n    a{k}[n] = x + {k}.0\n" for k in range(100)]
    total = " + ".join(f"a{k}[n]" for k in range(100))
    function = native(f"def kernel(x, n):\n{''.join(lines)}    return {total}\n", folder)
    function(0.0, 1)
    done: list[float] = []
    size = threading.stack_size(256 * 1024)
    try:
        thread = threading.Thread(target=lambda: done.append(function(1.0, 7999)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert done == [5050.0]


def test_arrays_of_no_elements(folder: Path) -> None:
    source = """
def kernel(a, g):
    total = 1.0
    own = np.zeros(0)
    for v in a.flat:
        total += v
    for v in g.flat:
        total += v
    a[:] = 2.0
    own[:] = 1.0
    return total + len(a) + len(own) + g.shape[1]
"""
    interpreted, compiled = both(source, folder)
    assert compiled(np.zeros(0), np.zeros((0, 3))) == interpreted(np.zeros(0), np.zeros((0, 3))) == 4.0
    assert compiled(np.ones(2), np.ones((1, 3))) == 11.0


# -- the cache and what is not known ---------------------------------------------------------------------------------


def test_another_processor_or_llvm_has_its_own_code(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    function = native(ENTRY, folder)
    assert isinstance(function, NativeFunction)
    name, key = function.entry((F64,))
    assert (name, key) == function.entry((F64,))
    assert function.entry((I64,))[0] != name
    contracted = NativeFunction(function._function, function._module, function._source, True, Store(folder))
    assert contracted.entry((F64,))[0] != name
    for holder, part, other in ((loading, "_processor", lambda: ("another",)), (llvmlite, "__version__", "0.1"),
                                (sys, "platform", "another")):  # fmt: skip
        with monkeypatch.context() as changed:
            changed.setattr(holder, part, other)
            loading.description.cache_clear()
            assert function.entry((F64,))[0] != name, part
    loading.description.cache_clear()
    assert function.entry((F64,)) == (name, key)


@pytest.mark.skipif(sys.platform != "linux", reason="shared objects are loaded from memory on Linux only")
class TestSharedObjects:
    SOURCE = "\n\ndef kernel(x):\n    return exp(x) + power(x, 0.3) * sin(x)\n"
    ARGUMENTS = (0.1, 0.7, 1.9, 33.3)

    def values(self, folder: Path) -> tuple[list[float], bool, bool]:
        """What it computes, whether the code came from disk, and whether LLVM was not needed for it."""
        source, store = _HEAD + self.SOURCE, Store(folder)
        module = load_module(source, "native_shared", True, store)
        compile_module(module, source, contract=False, store=store)
        function = module.kernel
        values = [function(x) for x in self.ARGUMENTS]
        name, key = function.entry((F64,))
        kept = unsealed(key, store.read(name))
        assert kept is not None
        return values, bool(function.from_cache), loading.is_shared(kept)

    def test_what_is_linked_computes_what_llvm_loads(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        linked = self.values(folder / "linked")
        with monkeypatch.context() as changed:
            changed.setattr(machine, "_LINKER", ("no-such-linker",))
            by_llvm = self.values(folder / "object")
            assert self.values(folder / "object") == (by_llvm[0], True, False)
        assert linked == (by_llvm[0], False, True)
        assert by_llvm[1:] == (False, False)
        assert self.values(folder / "linked") == (by_llvm[0], True, True)

    def test_a_linker_that_fails_is_not_used(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(machine, "_LINKER", ("false",))
        assert self.values(folder / "failing")[1:] == (False, False)

    def test_where_nothing_is_loaded_from_memory(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        linked = self.values(folder / "memory")
        with monkeypatch.context() as changed:
            changed.setattr(os, "memfd_create", refuse)
            assert self.values(folder / "memory") == (linked[0], False, False)
        assert self.values(folder / "memory") == (linked[0], True, False)

    def test_the_next_process_does_without_llvm(self, folder: Path) -> None:
        program = (
            "import sys, dynlib\n"
            "sim = dynlib.setup('builtin://ode/lorenz', stepper='rk4', dt=0.01)\n"
            "sim.run(T=1.0)\n"
            "print('llvmlite.binding' in sys.modules, sim.results()['x'][-1].hex())\n"
        )
        environment = {**os.environ, "DYNLIB_CACHE_DIR": str(folder / "cache")}
        first, second = (
            subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
            for _ in range(2)
        )
        assert first.stdout.split()[0] == "True"
        assert second.stdout.split() == ["False", first.stdout.split()[1]]


def refuse(*_: Any) -> int:
    raise OSError("not permitted")


UNKNOWN = {
    "a loop over a list": ("for k in [1, 2]:\n        pass", "statement"),
    "try": ("try:\n        pass\n    finally:\n        pass", "statement"),
    "else of a loop": ("for k in range(2):\n        pass\n    else:\n        n = 1", "statement"),
    "two targets": ("n = m = 1", "statement"),
    "an index from the end": ("x = a[-1]", "index from the end"),
    "an index that is no whole number": ("x = a[x]", "whole number"),
    "an index that is a truth value": ("x = a[x > 0.5]", "whole number"),
    "a stretch with a step": ("b = a[0:3:2]", "stretch"),
    "a stretch from the end": ("b = a[-2:3]", "index from the end"),
    "keywords": ("b = np.zeros(3, dtype=np.float32)", "way to call"),
    "too many arguments": ("x = np.sqrt(x, x)", "way to call"),
    "another dtype": ("b = np.zeros(3, np.int16)", "dtype"),
    "a size that varies": ("b = np.zeros(n)", "size of a new array"),
    "another function": ("x = np.cumsum(a)", "function"),
    "no such name": ("x = nothing", "name"),
    "no such name of NumPy": ("x = np.nothing", "name"),
    "is": ("b0 = x is x", "Is"),
    "in": ("b0 = x in a", "number is needed"),
    "floor division of floats": ("x = x // 2.0", "FloorDiv of float64"),
    "a power of whole numbers": ("n = n ** 2", "power of int64"),
    "a shift by a variable": ("n = n << n", "shift"),
    "a shift too far": ("n = n << 64", "shift"),
    "a step that varies": ("for k in range(0, 3, n):\n        pass", "step of a loop"),
    "a number too large": ("n = 9223372036854775808", "64 bits"),
    "a float in an array of whole numbers": ("b = np.zeros(3, np.int64)\n    b[0] = x", "float to an array"),
    "an array where a number is needed": ("x = a + 1.0", "number is needed"),
    "a list of unlike rows": ("b = np.array([[1.0], [1.0, 2.0]])", "list of numbers"),
    "a text": ("x = 'text'", "expression"),
    "recursion": ("x = again(a, x, n)", "again calls itself"),
    "recursion by way of another": ("x = other(a, x, n)", "calls itself"),
    "an array as the result": ("return a", "returns"),
    "unlike values where ways meet": ("if x > 0.5:\n        x = a", "both"),
}


@pytest.mark.parametrize("case", UNKNOWN.values(), ids=UNKNOWN)
def test_what_is_not_known_is_named(folder: Path, case: tuple[str, str]) -> None:
    """Nothing is guessed: an error of the library's own, which names the construct and the function."""
    body, message = case
    again = "def again(a, x, n):\n    return again(a, x, n)\n\n"
    other = "def other(a, x, n):\n    return back(a, x, n)\n\ndef back(a, x, n):\n    return other(a, x, n)\n\n"
    function = native(f"{again}{other}def kernel(a, x, n):\n    {body}\n    return 0\n", folder)
    with pytest.raises(TranslationError, match=message) as caught:
        function(np.zeros(3), 1.0, 1)
    assert re.search("kernel|again|other", str(caught.value))
