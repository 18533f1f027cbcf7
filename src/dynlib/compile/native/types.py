"""Types of generated code, and how values of them stand in LLVM IR."""

from __future__ import annotations

import struct

import numpy as np
from msgspec import Struct

from dynlib.errors import DynlibError


class TranslationError(DynlibError):
    """Generated code uses what the back-end does not know: a bug, not a mistake of the user."""


class Scalar(Struct, frozen=True):
    """A number: its name and its type in LLVM."""

    name: str
    llvm: str


F64, F32 = Scalar("float64", "double"), Scalar("float32", "float")
I64, BOOL = Scalar("int64", "i64"), Scalar("bool", "i1")


class Element(Struct, frozen=True):
    """What an array holds: as it lies in memory, and the scalar that it is read as."""

    dtype: str
    llvm: str
    scalar: Scalar
    size: int
    letters: str
    """How the buffer protocol may name it; together with the size that is one type."""


ELEMENTS = {
    "float64": Element("float64", "double", F64, 8, "d"),
    "float32": Element("float32", "float", F32, 4, "f"),
    "int64": Element("int64", "i64", I64, 8, "lq"),
    "int32": Element("int32", "i32", I64, 4, "il"),
    "uint8": Element("uint8", "i8", I64, 1, "B"),
}
ELEMENT_OF = {F64: ELEMENTS["float64"], F32: ELEMENTS["float32"], I64: ELEMENTS["int64"]}


class ArrayType(Struct, frozen=True):
    """An array in C order."""

    element: Element
    ndim: int


class TupleType(Struct, frozen=True):
    """Several values; functions return them, assignments take them apart."""

    items: tuple[Type, ...]


class NoneType(Struct, frozen=True):
    """What a function returns that returns nothing."""


Type = Scalar | ArrayType | TupleType | NoneType
NOTHING = NoneType()


class Value(Struct, frozen=True):
    """A value in IR: `text` is the register or constant of a scalar, or the address of an array with its `dims`."""

    type: Type
    text: str = ""
    dims: tuple[str, ...] = ()
    items: tuple[Value, ...] = ()
    constant: float | int | bool | None = None
    roots: frozenset[int] = frozenset()
    """The arguments of the function that the array may be a part of."""


def number(value: float | int | bool, kind: Scalar) -> Value:
    """A constant."""
    if kind is BOOL:
        return Value(BOOL, "true" if value else "false", constant=bool(value))
    if kind is I64:
        if not -(2**63) <= int(value) < 2**63:
            raise TranslationError(f"{value} has no place in 64 bits")
        return Value(I64, str(int(value)), constant=int(value))
    exact = float(value) if kind is F64 else _narrowed(value)
    return Value(kind, f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}", constant=exact)


def _narrowed(value: float | int) -> float:
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def joined(a: Type, b: Type) -> Type:
    """The type of a variable that takes values of both."""
    if a == b:
        return a
    if isinstance(a, Scalar) and isinstance(b, Scalar):
        return wider(a, b)
    if isinstance(a, TupleType) and isinstance(b, TupleType) and len(a.items) == len(b.items):
        return TupleType(tuple(map(joined, a.items, b.items)))
    raise TranslationError(f"a variable is both {a} and {b}")


def wider(a: Scalar, b: Scalar) -> Scalar:
    """The type in which two numbers meet: whole numbers stay whole, float32 only among itself."""
    if a is b:
        return I64 if a is BOOL else a
    return I64 if {a, b} <= {I64, BOOL} else F64


def llvm_of(kind: Type) -> str:
    """The type in which a function returns it."""
    if isinstance(kind, Scalar):
        return kind.llvm
    if isinstance(kind, TupleType):
        return "{" + ", ".join(map(llvm_of, kind.items)) + "}"
    if kind == NOTHING:
        return "void"
    raise TranslationError(f"a function returns {kind}")


def type_of_argument(value: object) -> Scalar | ArrayType:
    """The type of an argument of a call from Python."""
    if isinstance(value, np.ndarray):
        if value.dtype.name not in ELEMENTS:
            raise TypeError(f"arrays of {value.dtype} are not passed to compiled code")
        return ArrayType(ELEMENTS[value.dtype.name], value.ndim)
    if isinstance(value, float | np.floating):
        return F64
    if isinstance(value, int | np.integer):
        return I64
    raise TypeError(f"{type(value).__name__} values are not passed to compiled code")
