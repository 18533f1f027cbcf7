"""Translation: the plain Python of generated modules, one function at a time, into LLVM IR.

The language is small: numbers, arrays in C order, loops, branches, calls of other such functions. Its arithmetic is
that of Python and NumPy: whole numbers of 64 bits, floor division, float32 only where all operands are. Nothing is
reordered or contracted unless `contract` is given, so that interpreted and compiled code agree to the bit. Indices are
not checked: those of models are proven when a model is read, and negative ones do not count from the end. A variable
has the type of what it was given last; where ways meet, the type in which all fit. What Python has beside that is an
error here.
"""

from __future__ import annotations

import ast
import inspect
import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from types import FunctionType, ModuleType
from typing import Any

import numpy as np

from dynlib.compile import elementary, vectorised
from dynlib.compile.native.types import (
    BOOL,
    ELEMENT_OF,
    F32,
    F64,
    I64,
    NOTHING,
    ArrayType,
    Scalar,
    TranslationError,
    TupleType,
    Type,
    Value,
    joined,
    llvm_of,
    number,
    wider,
)
from dynlib.spec.expressions import C_FUNCTIONS
from dynlib.spec.syntax import syntax_tree

_INTRINSICS = {np.sqrt: "sqrt", np.floor: "floor", np.ceil: "ceil", np.trunc: "trunc", np.rint: "rint"}
_C_ONE = {getattr(elementary, name): name for name in (*C_FUNCTIONS, "exp2")}
_C_TWO = {elementary.power: "pow", elementary.atan2: "atan2", np.nextafter: "nextafter"}
_ARGUMENTS = dict.fromkeys((*_INTRINSICS, *_C_ONE, np.float64, np.float32, np.int64, float, int, len, abs), 1)
_ARGUMENTS |= dict.fromkeys((*_C_TWO, np.copysign, np.fmod), 2) | {elementary.fused: 3}
_CASTS = {np.float64: F64, np.float32: F32, np.int64: I64, float: F64, int: I64}
_INTEGER = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.BitAnd: "and", ast.BitOr: "or", ast.BitXor: "xor",
            ast.LShift: "shl", ast.RShift: "ashr"}  # fmt: skip
_FLOAT = {ast.Add: "fadd", ast.Sub: "fsub", ast.Mult: "fmul", ast.Div: "fdiv"}
_ORDER = {ast.Lt: "lt", ast.LtE: "le", ast.Gt: "gt", ast.GtE: "ge", ast.Eq: "eq", ast.NotEq: "ne"}
_ON_STACK = 2**16
"""Bytes that the arrays of one function take on the stack; threads have little of it."""
_MOST_PASSES = 100
_LEAVE = "; leave"
_FREE = "declare void @free(ptr) nounwind"
_MALLOC = "declare noalias ptr @malloc(i64) nounwind"
_ROOM = """\
define internal noalias ptr @room(i64 %size) nounwind {
entry:
  %found = call noalias ptr @malloc(i64 %size)
  %none = icmp eq ptr %found, null
  br i1 %none, label %end, label %have
end:
  call void @llvm.trap()
  unreachable
have:
  ret ptr %found
}"""
"""Memory; where there is none the process ends, before anything is written through a null address."""
_STREAM = """\
define internal void @stream(ptr %to, ptr %from, i64 %size) nounwind alwaysinline {
entry:
  %place = ptrtoint ptr %to to i64
  %low = and i64 %place, 63
  %odd = icmp ne i64 %low, 0
  br i1 %odd, label %plain, label %loop
plain:
  call void @llvm.memcpy.p0.p0.i64(ptr %to, ptr %from, i64 %size, i1 false)
  ret void
loop:
  %at = phi i64 [ 0, %entry ], [ %next, %loop ]
  %source = getelementptr inbounds i8, ptr %from, i64 %at
  %target = getelementptr inbounds i8, ptr %to, i64 %at
  %eight = load <8 x double>, ptr %source, align 8
  store <8 x double> %eight, ptr %target, align 64, !nontemporal !{i32 1}
  %next = add nuw i64 %at, 64
  %more = icmp ult i64 %next, %size
  br i1 %more, label %loop, label %end
end:
  ret void
}"""
"""See `vectorised.stream`. Such stores need whole lines; they are waited for at the end of the function."""


Constants = tuple[float | int | bool | None, ...]
"""Values of the arguments of a function, as far as they are known."""


def reciprocal(divisor: float | int | bool | None) -> tuple[float, float] | None:
    """`(high, low)`, so that `fma(x, high, x*low)` is `x/divisor` correctly rounded; None for what has no such parts.

    After Brisebarre, Muller & Raina, IEEE Trans. Comput. 53, 1069 (2004). Let B be the odd whole number in the divisor
    times a power of two. A quotient that is no number lies at least 1/(2B) units from the middle between two numbers,
    and the sum before it is rounded within 2⁻⁵¹ of the quotient: B < 2⁴⁸ is enough. Rounding `high` towards zero lets
    zeros keep their signs, and infinity its value. Quotients below 2⁻⁹⁶⁰ may be off by one unit.
    """
    if not isinstance(divisor, float) or not 2.0**-900 < abs(divisor) < 2.0**900:
        return None
    top, _ = abs(divisor).as_integer_ratio()
    if top & (top - 1) == 0 or (top // (top & -top)).bit_length() > 48:
        return None  # a power of two is exact as it is
    high = 1.0 / divisor
    if Fraction(high) * Fraction(divisor) > 1:
        high = math.nextafter(high, 0.0)
    return high, float(1 / Fraction(divisor) - Fraction(high))


class Translation:
    """The IR of a function and of all that it calls, as text."""

    def __init__(self, module: ModuleType, source: str, *, contract: bool = False) -> None:
        self.module = module
        self.lanes = "LANES" in vars(module)  # loops over lanes: all inline, in the widest vectors
        self.abreast = vars(module).get("ABREAST", 0)  # vectors that a loop over lanes has in hand, where it is said
        # loops over lanes: of each the optimiser is told that no turn reads what another one writes, and whether
        # vectors are wanted at any price; not where it calls the C library, which has none
        self.loops: list[bool] = []
        self.flags = " contract" if contract else ""
        own = any(vars(module).get(name) is vars(vectorised)[name] for name in vectorised.NAMES)
        self.reciprocals = self.lanes and (contract or own)  # where no bits of a single run are promised
        self.declared: dict[str, str] = {}
        self.finished: dict[tuple[int, tuple[Type, ...], str], _Function] = {}
        self.made: dict[tuple[int, str], tuple[list[ast.expr], list[ast.stmt]]] = {}  # trees that stand in no text
        self._trees: dict[str, dict[str, ast.FunctionDef]] = {module.__name__: _functions(source)}

    def function(
        self, function: FunctionType, kinds: tuple[Type, ...], constants: Constants = (), *, outer: bool = False
    ) -> _Function:
        """A function for arguments of these types, translated when it is first asked for.

        With `constants` it is made for these values of its arguments; None is any value.
        """
        key = (id(function), kinds, repr(constants))  # 0.0 and -0.0 are not the same
        if key not in self.finished:
            name = f"{function.__name__}.{len(self.finished)}"
            found = self.finished[key] = _Function(self, name, function, self._tree(function), kinds, constants, outer)
            try:
                found.translate()
            except TranslationError as problem:
                raise TranslationError(f"{function.__name__}: {problem}") from None
        elif not self.finished[key].text:
            raise TranslationError(f"{function.__name__} calls itself")
        return self.finished[key]

    def _tree(self, function: FunctionType) -> ast.FunctionDef:
        home = function.__module__
        if home not in self._trees:
            self._trees[home] = _functions(inspect.getsource(sys.modules[home]))
        return self._trees[home][function.__name__]

    def declare(self, text: str) -> None:
        """A function from outside, declared once."""
        self.declared.setdefault(text.partition("@")[2].partition("(")[0], text)

    def text(self) -> str:
        """Everything translated so far."""
        count = f', !{{!"llvm.loop.interleave.count", i32 {self.abreast}}}' if self.abreast else ""
        notes = [
            f"!{k} = distinct !{{}}\n"
            f'!{k + 1} = distinct !{{!{k + 1}, !{{!"llvm.loop.parallel_accesses", !{k}}}{count}'
            + (', !{!"llvm.loop.vectorize.enable", i1 true}}' if vectors else "}")
            for k, vectors in zip(range(0, 2 * len(self.loops), 2), self.loops, strict=True)
        ]
        return "\n\n".join([*self.declared.values(), *(f.text for f in self.finished.values()), *notes]) + "\n"


def _functions(source: str) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in syntax_tree(source).body if isinstance(node, ast.FunctionDef)}


class _Function:
    """One function for one choice of argument types."""

    def __init__(
        self,
        home: Translation,
        name: str,
        function: FunctionType,
        tree: ast.FunctionDef,
        kinds: tuple[Type, ...],
        constants: Constants,
        outer: bool,
    ) -> None:
        self.home, self.name, self.function, self.tree, self.kinds, self.outer = (
            home,
            name,
            function,
            tree,
            kinds,
            outer,
        )
        assigned = {
            node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        }
        self.fixed = {
            arg.arg: number(constant, kind)
            for arg, kind, constant in zip(tree.args.args, kinds, constants, strict=False)
            if constant is not None and isinstance(kind, Scalar) and arg.arg not in assigned
        }
        self.returned: Type | None = None
        self.met: dict[tuple[int, str], dict[str, Type]] = {}  # types of variables at the head and the end of loops
        self.roots: dict[str, frozenset[int]] = {}  # which arguments a variable may be a part of
        self.written: frozenset[int] = frozenset()  # which arguments are written to
        self.text = ""
        self.calls = False  # whether functions of the C library are called

    # -- the whole ---------------------------------------------------------------------------------------------

    def translate(self) -> None:
        """Repeat until the types of all variables stand still where ways meet; the last text counts."""
        for _ in range(_MOST_PASSES):
            before = {key: dict(types) for key, types in self.met.items()}, self.returned, dict(self.roots)
            self._once()
            if before == (self.met, self.returned, self.roots):
                return
        raise TranslationError("the types of variables do not settle")

    def _once(self) -> None:
        self.lines: list[str] = []
        self.slots: dict[str, str] = {}
        self.entry: list[str] = []
        self.heap: list[str] = []
        self.count = self.on_stack = 0
        self.closed = False
        self.loops: list[tuple[int, str, str]] = []
        self.group = ""  # what is said of every access to an array, inside a loop over lanes
        self.now: dict[str, Type] = {}
        self.reached: set[str] = set()
        self.kinds_of: dict[int, Type] = {}
        parameters = []
        given = self.tree.args
        if given.posonlyargs or given.kwonlyargs or given.vararg or given.kwarg or given.defaults:
            raise self.unknown("arguments", given)
        if len(self.kinds) != len(given.args):
            raise TranslationError(f"takes {len(given.args)} arguments, not {len(self.kinds)}")
        for k, (arg, kind) in enumerate(zip(given.args, self.kinds, strict=True)):
            if isinstance(kind, ArrayType):
                # only the arrays of the outermost function are known not to overlap
                parameters.append(f"ptr {'noalias ' if self.outer else ''}%a{k}")
                dims = tuple(f"%a{k}.{d}" for d in range(kind.ndim))
                parameters += [f"i64 {d}" for d in dims]
                self.assign(arg.arg, Value(kind, f"%a{k}", dims, roots=frozenset({k})))
            elif isinstance(kind, Scalar):
                parameters.append(f"{kind.llvm} %a{k}")
                self.assign(arg.arg, Value(kind, f"%a{k}"))
            else:
                raise TranslationError(f"is given {kind}")
        for statement in self.tree.body:
            self.statement(statement)
        if not self.closed:
            self.give(Value(NOTHING))
        head = "define" if self.outer else "define internal"
        attributes = ' "prefer-vector-width"="512"'  # where the processor has such vectors
        if self.home.lanes and not self.outer:
            attributes += " alwaysinline"
        body = [line for each in self.lines for line in (self.heap if each.endswith(_LEAVE) else [each])]
        self.text = (
            f"{head} {llvm_of(self.returned or NOTHING)} @{self.name}({', '.join(parameters)}) nounwind"
            f"{attributes} {{\nentry:\n" + "\n".join([*self.entry, *body]) + "\n}"
        )

    def unknown(self, what: str, node: ast.AST) -> TranslationError:
        """What is said of a construct that is not part of the language."""
        return TranslationError(f"unknown {what}: {ast.unparse(node)}")

    # -- emission ----------------------------------------------------------------------------------------------

    def new(self) -> str:
        self.count += 1
        return f"%r{self.count}"

    def emit(self, text: str) -> None:
        if not self.closed:
            self.lines.append("  " + text)

    def register(self, text: str, kind: Scalar) -> Value:
        name = self.new()
        self.emit(f"{name} = {text}")
        return Value(kind, name)

    def label(self) -> str:
        self.count += 1
        return f"b{self.count}"

    def begin(self, label: str) -> None:
        """A new block; the one before runs on into it unless it is closed."""
        self.jump(label)
        self.lines.append(f"{label}:")
        self.closed = False

    def jump(self, label: str, note: str = "") -> None:
        if not self.closed:
            self.reached.add(label)
        self.emit(f"br label %{label}{note}")
        self.closed = True

    def branch(self, test: Value, yes: str, no: str) -> None:
        if not self.closed:
            self.reached |= {yes, no}
        self.emit(f"br i1 {test.text}, label %{yes}, label %{no}")
        self.closed = True

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """What is emitted inside is forgotten."""
        kept = self.lines, self.closed, self.count, self.reached
        self.lines, self.reached = [], set(self.reached)
        yield
        self.lines, self.closed, self.count, self.reached = kept

    def kind_of(self, node: ast.expr) -> Type:
        """The type of an expression."""
        if id(node) not in self.kinds_of:
            with self.rehearsal():
                self.kinds_of[id(node)] = self.value(node).type
        return self.kinds_of[id(node)]

    # -- variables ---------------------------------------------------------------------------------------------

    def slot(self, name: str, llvm: str) -> str:
        if name not in self.slots:
            self.slots[name] = f"%v{len(self.slots)}"
            self.entry.append(f"  {self.slots[name]} = alloca {llvm}")
            # what the optimiser computes ahead of the tests that guard it must not be undefined
            self.entry.append(f"  store {llvm} zeroinitializer, ptr {self.slots[name]}")
        return self.slots[name]

    def assign(self, name: str, value: Value) -> None:
        """Give a variable a value; from here on it has its type."""
        kind = self.now[name] = value.type
        if isinstance(kind, ArrayType):
            self.roots[name] = self.roots.get(name, frozenset()) | value.roots
            self.emit(f"store ptr {value.text}, ptr {self.slot(name, 'ptr')}")
            for d, size in enumerate(value.dims):
                self.emit(f"store i64 {size}, ptr {self.slot(f'{name}.{d}', 'i64')}")
        elif isinstance(kind, Scalar):
            self.emit(f"store {kind.llvm} {value.text}, ptr {self.slot(f'{name}:{kind.name}', kind.llvm)}")
        else:
            raise TranslationError(f"variable {name} is {kind}")

    def read(self, name: str) -> Value:
        """The value of a variable."""
        if name in self.fixed:
            return self.fixed[name]
        kind = self.now[name]
        if isinstance(kind, ArrayType):
            address = self.register(f"load ptr, ptr {self.slot(name, 'ptr')}", I64).text
            dims = [self.register(f"load i64, ptr {self.slot(f'{name}.{d}', 'i64')}", I64) for d in range(kind.ndim)]
            return Value(kind, address, tuple(d.text for d in dims), roots=self.roots[name])
        assert isinstance(kind, Scalar)
        return self.register(f"load {kind.llvm}, ptr {self.slot(f'{name}:{kind.name}', kind.llvm)}", kind)

    def settle(self, wanted: dict[str, Type]) -> None:
        """Variables as they are at a place where ways meet."""
        for name, kind in wanted.items():
            own = self.now.get(name, kind)
            if own is not kind and own != kind:
                assert isinstance(kind, Scalar)
                self.assign(name, self.cast(self.read(name), kind))

    def meet(self, loop: int, where: str) -> None:
        """One of the ways to the head or the end of a loop."""
        types = self.met.setdefault((loop, where), {})
        if not self.closed:
            for name, kind in self.now.items():
                there = types.get(name, kind)
                types[name] = kind if there is kind else joined(there, kind)
            self.settle(types)
            self.now = {**types, **self.now}

    # -- statements --------------------------------------------------------------------------------------------

    def statement(self, node: ast.stmt) -> None:
        match node:
            case ast.Assign(targets=[target], value=value):
                self.store(target, self.value(value))
            case ast.AugAssign(target=ast.Name() | ast.Subscript() as target, op=op, value=value):
                there = ast.Name(target.id) if isinstance(target, ast.Name) else target
                self.store(target, self.operation(op, self.value(there), self.value(value)))
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case ast.Expr(value=value):
                self.value(value)
            case ast.Return(value=None):
                self.give(Value(NOTHING))
            case ast.Return(value=ast.expr() as value):
                self.give(self.value(value))
            case ast.If(test=test, body=body, orelse=other):
                self.fork(self.truth(test), body, other)
            case ast.While(test=test, body=body, orelse=[]):
                self.repeat(node, None if isinstance(test, ast.Constant) and test.value is True else test, body)
            case ast.For(
                target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"), args=args), body=body, orelse=[]
            ):
                self.count_through(name, args, body)
            case ast.For(target=ast.Name(id=name), iter=ast.Attribute(value=array, attr="flat"), orelse=[]):
                self.go_through(name, node, self.value(array))
            case ast.Break():
                self.meet(self.loops[-1][0], "end")
                self.jump(self.loops[-1][2])
            case ast.Continue():
                self.meet(self.loops[-1][0], "more")
                self.jump(self.loops[-1][1])
            case _:
                raise self.unknown("statement", node)

    def open(self, label: str) -> None:
        """A new block that only jumps lead to."""
        self.lines.append(f"{label}:")
        self.closed = False

    def block(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.statement(statement)

    def fork(self, test: Value, body: list[ast.stmt], other: list[ast.stmt]) -> None:
        """`if`: where the two ways meet, variables of different types are brought together."""
        yes, no, end = self.label(), self.label(), self.label()
        self.branch(test, yes, no)
        before = dict(self.now)
        self.open(yes)
        self.block(body)
        first, first_closed, first_lines = self.now, self.closed, self.lines
        self.now, self.lines = before, []
        self.open(no)
        self.block(other)
        if self.closed:
            after = first
        elif first_closed:
            after = self.now
        else:
            after = {**self.now, **first}
            for name, kind in self.now.items():
                if after[name] is not kind:
                    after[name] = joined(after[name], kind)
        self.settle(after)
        self.jump(end)
        later, self.lines, self.closed, self.now = self.lines, first_lines, first_closed, first
        self.settle(after)
        self.jump(end)
        self.lines += later
        self.now = dict(after)
        self.begin_if_reached(end)

    def repeat(self, node: ast.While, test: ast.expr | None, body: list[ast.stmt]) -> None:
        """`while`."""
        loop = id(node)
        head, inside, leave, end = (self.label() for _ in range(4))
        self.meet(loop, "more")
        self.begin(head)
        if test is None:
            self.jump(inside)
        else:
            self.branch(self.truth(test), inside, leave)
        self.open(inside)
        self.loops.append((loop, head, end))
        self.block(body)
        self.loops.pop()
        self.meet(loop, "more")
        self.jump(head)
        if test is not None:
            self.leave(loop, leave, end)
        self.now = dict(self.met.get((loop, "end"), {}))
        self.begin_if_reached(end)

    def begin_if_reached(self, label: str) -> None:
        """A block after a branch; if nothing leads to it what follows in the text is never reached."""
        if label in self.reached:
            self.lines.append(f"{label}:")
        self.closed = label not in self.reached

    def give(self, value: Value) -> None:
        kind = value.type if self.returned is None else joined(self.returned, value.type)
        self.returned = kind
        self.emit(_LEAVE)
        if "stream" in self.home.declared and self.outer:
            self.emit("fence seq_cst")
        if kind == NOTHING:
            self.emit("ret void")
        elif isinstance(kind, TupleType):
            packed = "undef"
            for k, (item, wanted) in enumerate(zip(value.items, kind.items, strict=True)):
                if not isinstance(wanted, Scalar):
                    raise TranslationError(f"returns {wanted} in a tuple")
                text = f"insertvalue {llvm_of(kind)} {packed}, {wanted.llvm} {self.cast(item, wanted).text}, {k}"
                packed = self.register(text, wanted).text
            self.emit(f"ret {llvm_of(kind)} {packed}")
        elif not isinstance(kind, Scalar):
            raise TranslationError(f"returns {kind}")
        else:
            self.emit(f"ret {kind.llvm} {self.cast(value, kind).text}")
        self.closed = True

    def store(self, target: ast.expr, value: Value) -> None:
        match target:
            case ast.Name(id=name):
                self.assign(name, value)
            case ast.Tuple(elts=targets):
                if len(targets) != len(value.items):
                    raise self.unknown(f"assignment of {len(value.items)} values", target)
                for each, item in zip(targets, value.items, strict=True):
                    self.store(each, item)
            case ast.Subscript(slice=ast.Slice()):
                self.fill(target, value)
            case ast.Subscript():
                array, address = self.place(target)
                self.written |= array.roots
                assert isinstance(array.type, ArrayType)
                element = array.type.element
                if element.scalar is I64 and value.type not in (I64, BOOL):
                    raise self.unknown("assignment of a float to an array of whole numbers", target)
                text = self.cast(value, element.scalar).text
                if element.llvm != element.scalar.llvm:
                    text = self.register(f"trunc {element.scalar.llvm} {text} to {element.llvm}", I64).text
                self.emit(f"store {element.llvm} {text}, ptr {address}{self.group}")
            case _:
                raise self.unknown("target", target)

    def count_through(self, name: str, args: list[ast.expr], body: list[ast.stmt]) -> None:
        """`for name in range(…)`."""
        given = [self.index(a) for a in args]
        start, stop, step = [
            (number(0, I64), given[0], number(1, I64)),
            (*given[:2], number(1, I64)),
            (*given[:3],),
        ][len(given) - 1]
        if not isinstance(step.constant, int) or step.constant == 0:
            raise TranslationError("the step of a loop is no constant")
        loop = id(args)
        counter = self.slot(f"for.{loop}", "i64")
        self.emit(f"store i64 {start.text}, ptr {counter}")
        head, inside, more, leave, end = (self.label() for _ in range(5))
        self.meet(loop, "more")
        self.begin(head)
        at = self.register(f"load i64, ptr {counter}", I64)
        order = "slt" if step.constant > 0 else "sgt"
        self.branch(self.register(f"icmp {order} i64 {at.text}, {stop.text}", BOOL), inside, leave)
        self.open(inside)
        self.assign(name, at)
        self.loops.append((loop, more, end))
        note = ""
        if self.home.lanes and isinstance(args[0], ast.Name) and args[0].id == "LANES":
            called, self.calls = self.calls, False
            which = len(self.home.loops)
            self.home.loops.append(True)
            self.group, note = f", !llvm.access.group !{2 * which}", f", !llvm.loop !{2 * which + 1}"
            self.block(body)
            self.group = ""
            self.home.loops[which] = not self.calls
            self.calls |= called
        else:
            self.block(body)
        self.loops.pop()
        self.meet(loop, "more")
        self.begin(more)
        ahead = self.register(f"load i64, ptr {counter}", I64)
        if abs(step.constant) != 1:  # the step may lead beyond 64 bits
            near, far = (stop, ahead) if step.constant > 0 else (ahead, stop)
            rest, on = self.register(f"sub i64 {near.text}, {far.text}", I64), self.label()
            self.branch(self.register(f"icmp ugt i64 {rest.text}, {abs(step.constant)}", BOOL), on, leave)
            self.open(on)
        self.emit(f"store i64 {self.register(f'add nsw i64 {ahead.text}, {step.text}', I64).text}, ptr {counter}")
        self.jump(head, note)
        self.leave(loop, leave, end)
        self.now = dict(self.met[loop, "end"])
        self.open(end)

    def leave(self, loop: int, label: str, end: str) -> None:
        """The way out at the head of a loop, with all that its body has given."""
        self.open(label)
        self.now = dict(self.met[loop, "more"])
        self.meet(loop, "end")
        self.jump(end)

    def fill(self, target: ast.Subscript, value: Value) -> None:
        """Give every element of a stretch one value."""
        array, given, index = (f"{part}.{id(target)}" for part in ("fill", "value", "index"))
        whole = isinstance(target.slice, ast.Slice) and target.slice.lower is None and target.slice.upper is None
        self.assign(array, self.flat(self.value(target.value)) if whole else self.value(target))
        self.assign(given, value)
        args, body = self.once(target, f"{array}[{index}] = {given}", array)
        self.count_through(index, args, body)

    def go_through(self, name: str, node: ast.For, array: Value) -> None:
        """`for name in array.flat`."""
        flat, index = f"flat.{id(node)}", f"index.{id(node)}"
        self.assign(flat, self.flat(array))
        args, body = self.once(node, f"{name} = {flat}[{index}]", flat)
        self.count_through(index, args, [*body, *node.body])

    def flat(self, array: Value) -> Value:
        """All elements in a row."""
        assert isinstance(array.type, ArrayType)
        size = array.dims[0]
        for d in array.dims[1:]:
            size = self.register(f"mul i64 {size}, {d}", I64).text
        return Value(ArrayType(array.type.element, 1), array.text, (size,), roots=array.roots)

    def once(self, node: ast.AST, text: str, array: str) -> tuple[list[ast.expr], list[ast.stmt]]:
        """Parts of a loop over the elements of an array: the same ones in every pass, as they are known by identity."""
        key = (id(node), text)
        if key not in self.home.made:
            target, _, value = text.partition(" = ")
            each = ast.Assign([self.reference(target)], self.reference(value))
            self.home.made[key] = [ast.Call(ast.Name("len"), [ast.Name(array)], [])], [each]
        return self.home.made[key]

    def reference(self, text: str) -> ast.expr:
        """`name` or `name[name]`; these names are no words of Python."""
        name, _, index = text.rstrip("]").partition("[")
        return ast.Subscript(ast.Name(name), ast.Name(index)) if index else ast.Name(name)

    # -- expressions -------------------------------------------------------------------------------------------

    def value(self, node: ast.expr) -> Value:
        match node:
            case ast.Constant(value=bool() as constant):
                return number(constant, BOOL)
            case ast.Constant(value=int() as constant):
                return number(constant, I64)
            case ast.Constant(value=float() as constant):
                return number(constant, F64)
            case ast.Name(id=name) if name in self.now:
                return self.read(name)
            case ast.Name() | ast.Attribute(value=ast.Name(id="np")):
                return self.constant(self.resolve(node))
            case ast.Attribute(value=array, attr="shape"):
                dims = self.value(array).dims
                return Value(TupleType((I64,) * len(dims)), items=tuple(Value(I64, d) for d in dims))
            case ast.Tuple(elts=parts):
                items = tuple(self.value(part) for part in parts)
                return Value(TupleType(tuple(item.type for item in items)), items=items)
            case ast.BinOp(
                left=left,
                op=ast.Mult() as op,
                right=ast.BinOp(left=ast.Constant(value=float() as factor), op=ast.Mult(), right=right),
            ) if self.home.flags and abs(math.frexp(factor)[0]) == 0.5:
                # h*(0.5*k) as (0.5*h)*k: the same but for the smallest numbers, and 0.5*h is computed once for all
                return self.operation(op, self.operation(op, self.value(left), number(factor, F64)), self.value(right))
            case ast.BinOp(left=left, op=op, right=right):
                return self.operation(op, self.value(left), self.value(right))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as constant)):
                return number(-constant, I64)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.negative(self.value(operand))
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self.register(f"xor i1 {self.truth(operand).text}, true", BOOL)
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self.comparison(left, ops, others)
            case ast.BoolOp(op=op, values=values):
                return self.logic(isinstance(op, ast.And), values)
            case ast.IfExp():
                return self.choice(node)
            case ast.Subscript(value=ast.Attribute(attr="shape") as shape, slice=ast.Constant(value=int() as k)):
                return self.value(shape).items[k]
            case ast.Subscript():
                return self.element(node)
            case ast.Call():
                return self.call(node)
        raise self.unknown("expression", node)

    def resolve(self, node: ast.expr) -> Any:
        """The Python object that a name outside of the function stands for."""
        match node:
            case ast.Name(id=name):
                space = self.function.__globals__
                if name in space:
                    return space[name]
                builtin = {"abs": abs, "min": min, "max": max, "len": len, "float": float, "int": int}
                if name in builtin:
                    return builtin[name]
            case ast.Attribute(value=ast.Name(id="np"), attr=attr) if attr in vars(np):
                return vars(np)[attr]
        raise self.unknown("name", node)

    def constant(self, found: Any) -> Value:
        if isinstance(found, bool | int | float):
            return number(found, BOOL if isinstance(found, bool) else I64 if isinstance(found, int) else F64)
        raise TranslationError(f"{found!r} is no number")

    def scalar(self, value: Value) -> Scalar:
        if not isinstance(value.type, Scalar):
            raise TranslationError(f"a number is needed, not {value.type}")
        return value.type

    def cast(self, value: Value, kind: Scalar) -> Value:
        """A number in another type."""
        own = self.scalar(value)
        if own is kind:
            return value
        if value.constant is not None and kind is not BOOL and (kind is not I64 or own is BOOL):
            return number(value.constant, kind)
        how = {
            (F32, F64): "fpext", (F64, F32): "fptrunc", (I64, F64): "sitofp", (I64, F32): "sitofp",
            (BOOL, I64): "zext", (BOOL, F64): "uitofp", (BOOL, F32): "uitofp", (F64, I64): "fptosi",
            (F32, I64): "fptosi",
        }.get((own, kind))  # fmt: skip
        if how is None:
            raise TranslationError(f"{own.name} is not turned into {kind.name}")
        found = self.register(f"{how} {own.llvm} {value.text} to {kind.llvm}", kind)
        if how == "fptosi":  # of what has no place in 64 bits it is some number, not undefined
            return self.register(f"freeze i64 {found.text}", I64)
        return found

    def truth(self, node: ast.expr) -> Value:
        """An expression as a condition."""
        value = self.value(node)
        kind = self.scalar(value)
        if kind is BOOL:
            return value
        test = "icmp ne" if kind is I64 else "fcmp une"
        return self.register(f"{test} {kind.llvm} {value.text}, {number(0, kind).text}", BOOL)

    def negative(self, value: Value) -> Value:
        kind = self.scalar(value)
        if value.constant is not None and kind is not BOOL:
            return number(-value.constant, kind)
        if kind in (I64, BOOL):
            return self.register(f"sub i64 0, {self.cast(value, I64).text}", I64)
        return self.register(f"fneg{self.home.flags} {kind.llvm} {value.text}", kind)

    def operation(self, op: ast.operator, left: Value, right: Value) -> Value:
        """Arithmetic on two numbers."""
        kind = wider(self.scalar(left), self.scalar(right))
        if isinstance(op, ast.Div) and kind is I64:
            kind = F64
        if isinstance(op, ast.Pow) and kind is not F64:
            raise TranslationError(f"a power of {kind.name}")
        a, b = self.cast(left, kind), self.cast(right, kind)
        if isinstance(op, ast.Pow):
            return self.external("pow", [a, b])
        if kind is I64:
            if isinstance(op, ast.Mod | ast.FloorDiv):
                return self.floored(isinstance(op, ast.Mod), a, b)
            if isinstance(op, ast.LShift | ast.RShift) and not (isinstance(b.constant, int) and 0 <= b.constant < 64):
                raise TranslationError("a shift is by no constant from 0 to 63")
            if type(op) in _INTEGER:
                return self.register(f"{_INTEGER[type(op)]} i64 {a.text}, {b.text}", I64)
        elif isinstance(op, ast.Mod):
            return self.remainder(a, b, kind)
        elif isinstance(op, ast.Div) and kind is F64 and self.home.reciprocals and (parts := reciprocal(b.constant)):
            high, low = (number(part, F64) for part in parts)
            return self.fma(a, high, self.operation(ast.Mult(), a, low))
        elif type(op) in _FLOAT:
            return self.register(f"{_FLOAT[type(op)]}{self.home.flags} {kind.llvm} {a.text}, {b.text}", kind)
        raise TranslationError(f"{type(op).__name__} of {kind.name}")

    def floored(self, rest: bool, a: Value, b: Value) -> Value:
        """`a % b` or `a // b` of whole numbers, as Python's; 0 where b is 0, round to 64 bits where b is -1."""
        zero = minus = None
        if b.constant == -1:
            minus, b = number(True, BOOL), number(1, I64)
        elif not b.constant:
            zero = self.register(f"icmp eq i64 {b.text}, 0", BOOL)
            minus = self.register(f"icmp eq i64 {b.text}, -1", BOOL)
            odd = self.register(f"or i1 {zero.text}, {minus.text}", BOOL)
            b = self.register(f"select i1 {odd.text}, i64 1, i64 {b.text}", I64)
        left = self.register(f"srem i64 {a.text}, {b.text}", I64)
        uneven = self.register(f"icmp ne i64 {left.text}, 0", BOOL)
        signs = self.register(f"xor i64 {left.text}, {b.text}", I64)
        apart = self.register(f"icmp slt i64 {signs.text}, 0", BOOL)
        below = self.register(f"and i1 {uneven.text}, {apart.text}", BOOL)
        if rest:
            more = self.register(f"select i1 {below.text}, i64 {b.text}, i64 0", I64)
            found = self.register(f"add i64 {left.text}, {more.text}", I64)
        else:
            whole = self.register(f"sdiv i64 {a.text}, {b.text}", I64)
            found = self.register(f"sub i64 {whole.text}, {self.cast(below, I64).text}", I64)
            if minus is not None:
                other = self.register(f"sub i64 0, {a.text}", I64)
                found = self.register(f"select i1 {minus.text}, i64 {other.text}, i64 {found.text}", I64)
        return found if zero is None else self.register(f"select i1 {zero.text}, i64 0, i64 {found.text}", I64)

    def remainder(self, a: Value, b: Value, kind: Scalar) -> Value:
        """`a % b` of floats, as Python's."""
        rest = self.register(f"frem {kind.llvm} {a.text}, {b.text}", kind)
        zero = number(0.0, kind).text
        uneven = self.register(f"fcmp une {kind.llvm} {rest.text}, {zero}", BOOL)
        one = self.register(f"fcmp olt {kind.llvm} {rest.text}, {zero}", BOOL)
        other = self.register(f"fcmp olt {kind.llvm} {b.text}, {zero}", BOOL)
        apart = self.register(f"xor i1 {one.text}, {other.text}", BOOL)
        moved = self.register(f"fadd {kind.llvm} {rest.text}, {b.text}", kind)
        signed = self.intrinsic("copysign", [number(0.0, kind), b], kind)
        found = self.register(f"select i1 {apart.text}, {kind.llvm} {moved.text}, {kind.llvm} {rest.text}", kind)
        return self.register(f"select i1 {uneven.text}, {kind.llvm} {found.text}, {kind.llvm} {signed.text}", kind)

    def compared(self, op: ast.cmpop, left: Value, right: Value) -> Value:
        kind = wider(self.scalar(left), self.scalar(right))
        a, b = self.cast(left, kind).text, self.cast(right, kind).text
        order = _ORDER.get(type(op))
        if order is None:
            raise TranslationError(f"{type(op).__name__}")
        if kind is I64:
            return self.register(f"icmp {order if order in ('eq', 'ne') else 's' + order} i64 {a}, {b}", BOOL)
        return self.register(f"fcmp {'une' if order == 'ne' else 'o' + order} {kind.llvm} {a}, {b}", BOOL)

    def comparison(self, left: ast.expr, ops: list[ast.cmpop], others: list[ast.expr]) -> Value:
        at, found = self.value(left), None
        for op, other in zip(ops, others, strict=True):
            right = self.value(other)
            test = self.compared(op, at, right)
            found = test if found is None else self.register(f"and i1 {found.text}, {test.text}", BOOL)
            at = right
        assert found is not None
        return found

    def logic(self, both: bool, values: list[ast.expr]) -> Value:
        """`and`, `or`: what comes later is computed only where it matters."""
        slot = self.slot(f"logic.{id(values)}", "i1")
        end = self.label()
        for k, node in enumerate(values):
            test = self.truth(node)
            self.emit(f"store i1 {test.text}, ptr {slot}")
            if k < len(values) - 1:
                more = self.label()
                self.branch(test, *((more, end) if both else (end, more)))
                self.open(more)
        self.begin(end)
        return self.register(f"load i1, ptr {slot}", BOOL)

    def choice(self, node: ast.IfExp) -> Value:
        kind = joined(self.kind_of(node.body), self.kind_of(node.orelse))
        if not isinstance(kind, Scalar):
            raise self.unknown(f"choice of {kind}", node)
        slot = self.slot(f"choice.{id(node)}:{kind.name}", kind.llvm)
        yes, no, end = self.label(), self.label(), self.label()
        self.branch(self.truth(node.test), yes, no)
        for label, part in ((yes, node.body), (no, node.orelse)):
            self.open(label)
            self.emit(f"store {kind.llvm} {self.cast(self.value(part), kind).text}, ptr {slot}")
            self.jump(end)
        self.open(end)
        return self.register(f"load {kind.llvm}, ptr {slot}", kind)

    # -- arrays ------------------------------------------------------------------------------------------------

    def place(self, node: ast.Subscript) -> tuple[Value, str]:
        """An array and the address of one of its elements."""
        array = self.value(node.value)
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if not isinstance(array.type, ArrayType) or len(parts) != array.type.ndim:
            raise self.unknown("element", node)
        return array, self.address(array, [self.element_index(part) for part in parts])

    def index(self, node: ast.expr) -> Value:
        """A whole number: nothing else is the place of an element, or the bound of a loop."""
        found = self.value(node)
        if found.type is not I64:
            raise self.unknown("whole number", node)
        return found

    def element_index(self, node: ast.expr) -> Value:
        """The place of an element."""
        found = self.index(node)
        if isinstance(found.constant, int) and found.constant < 0:
            raise self.unknown("index from the end", node)
        return found

    def address(self, array: Value, indices: list[Value]) -> str:
        assert isinstance(array.type, ArrayType)
        offset = indices[0]
        for size, more in zip(array.dims[1:], indices[1:], strict=True):
            row = self.register(f"mul nsw i64 {offset.text}, {size}", I64)
            offset = self.register(f"add nsw i64 {row.text}, {more.text}", I64)
        element = array.type.element.llvm
        return self.register(f"getelementptr inbounds {element}, ptr {array.text}, i64 {offset.text}", I64).text

    def element(self, node: ast.Subscript) -> Value:
        """An element, a stretch of one dimension, or a row."""
        parts = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if any(isinstance(part, ast.Slice) for part in parts):
            return self.stretch(node, parts)
        array = self.value(node.value)
        kind = array.type
        if not isinstance(kind, ArrayType):
            raise self.unknown("element", node)
        indices = [self.element_index(part) for part in parts]
        if len(parts) < kind.ndim:
            rest = array.dims[len(parts) :]
            address = self.address(array, [*indices, *(number(0, I64) for _ in rest)])
            return Value(ArrayType(kind.element, len(rest)), address, rest, roots=array.roots)
        element = kind.element
        address = self.address(array, indices)
        found = self.register(f"load {element.llvm}, ptr {address}{self.group}", element.scalar)
        if element.llvm == element.scalar.llvm:
            return found
        how = "zext" if element.dtype.startswith("u") else "sext"
        return self.register(f"{how} {element.llvm} {found.text} to {element.scalar.llvm}", element.scalar)

    def stretch(self, node: ast.Subscript, parts: list[ast.expr]) -> Value:
        array = self.value(node.value)
        *outer, last = parts
        if not isinstance(array.type, ArrayType) or not isinstance(last, ast.Slice) or len(parts) != array.type.ndim:
            raise self.unknown("stretch", node)
        if last.step is not None:
            raise self.unknown("stretch", node)
        start = number(0, I64) if last.lower is None else self.element_index(last.lower)
        stop = Value(I64, array.dims[-1]) if last.upper is None else self.element_index(last.upper)
        address = self.address(array, [*(self.element_index(part) for part in outer), start])
        if isinstance(start.constant, int) and isinstance(stop.constant, int):
            size = str(stop.constant - start.constant)
        else:
            size = self.register(f"sub nsw i64 {stop.text}, {start.text}", I64).text
        return Value(ArrayType(array.type.element, 1), address, (size,), roots=array.roots)

    def allocate(self, kind: Scalar, dims: tuple[Value, ...], zeros: bool) -> Value:
        """A new array that lives as long as the call, the same one in every turn of a loop; small ones on the stack."""
        element = ELEMENT_OF[kind]
        sizes = []
        for d in dims:
            if not isinstance(d.constant, int) or d.constant < 0:
                raise TranslationError("the size of a new array is no constant")
            sizes.append(d.constant)
        count = math.prod(sizes)
        total = max(1, count) * element.size
        if self.on_stack + total <= _ON_STACK:
            self.on_stack += total
            address = f"%s{len(self.entry)}"
            self.entry.append(f"  {address} = alloca [{max(1, count)} x {element.llvm}], align 64")
        else:
            for needed in (_MALLOC, _FREE, "declare void @llvm.trap()", _ROOM):
                self.home.declare(needed)
            address = f"%s{len(self.entry)}"
            self.entry.append(f"  {address} = call noalias ptr @room(i64 {total})")
            self.heap.append(f"  call void @free(ptr {address})")
        if zeros:
            self.home.declare("declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)")
            self.emit(f"call void @llvm.memset.p0.i64(ptr {address}, i8 0, i64 {total}, i1 false)")
        return Value(ArrayType(element, len(sizes)), address, tuple(map(str, sizes)))

    # -- calls -------------------------------------------------------------------------------------------------

    def call(self, node: ast.Call) -> Value:
        if node.keywords or not node.args:
            raise self.unknown("way to call", node)
        match node.func:
            case ast.Attribute(value=array, attr="reshape"):
                old = self.value(array)
                dims = self.sizes(node.args[0], node.args)
                if not isinstance(old.type, ArrayType):
                    raise self.unknown("expression", node)
                shaped = ArrayType(old.type.element, len(dims))
                return Value(shaped, old.text, tuple(d.text for d in dims), roots=old.roots)
            case ast.Attribute(value=ast.Attribute(value=array, attr="dtype"), attr="type"):
                own = self.value(array).type
                if not isinstance(own, ArrayType):
                    raise self.unknown("expression", node)
                return self.cast(self.value(node.args[0]), own.element.scalar)
        function = self.resolve(node.func)
        if function in (np.empty, np.zeros):
            dims = self.sizes(node.args[0], node.args[:1])
            return self.allocate(self.dtype(node, node.args[1:]), dims, function is np.zeros)
        if function is np.array:
            return self.listed(node)
        given = [self.value(a) for a in node.args]
        if len(given) != _ARGUMENTS.get(function, len(given)):
            raise self.unknown("way to call", node)
        if isinstance(function, type) and function in _CASTS:
            return self.cast(given[0], _CASTS[function])
        if function is len and isinstance(given[0].type, ArrayType):
            return Value(I64, given[0].dims[0])
        if function is abs:
            return self.magnitude(given[0])
        if function in (min, max):
            return self.extreme(function is min, given)
        if function in _INTRINSICS:
            kind = F32 if self.scalar(given[0]) is F32 else F64
            return self.intrinsic(_INTRINSICS[function], [self.cast(given[0], kind)], kind)
        if function is np.copysign or function is np.fmod:
            kind = wider(self.scalar(given[0]), self.scalar(given[1]))
            kind = F64 if kind is I64 else kind
            a, b = (self.cast(x, kind) for x in given)
            if function is np.fmod:
                return self.register(f"frem {kind.llvm} {a.text}, {b.text}", kind)
            return self.intrinsic("copysign", [a, b], kind)
        if function in _C_ONE or function in _C_TWO:
            name = _C_ONE.get(function) or _C_TWO[function]
            found = self.external(name, [self.cast(x, F64) for x in given])
            return self.cast(found, F32) if self.scalar(given[0]) is F32 else found
        if function is elementary.fused:
            return self.narrowed(self.fma(*(self.cast(x, F64) for x in given)), given[:1])
        if function is elementary.dot:
            return self.products(given)
        if function is vectorised.bits_of:
            return self.register(f"bitcast double {self.cast(given[0], F64).text} to i64", I64)
        if function is vectorised.float_of:
            return self.register(f"bitcast i64 {self.cast(given[0], I64).text} to double", F64)
        if function is vectorised.stream:
            return self.streamed(given)
        if isinstance(function, FunctionType):
            return self.inner(function, given)
        raise self.unknown("function", node.func)

    def sizes(self, first: ast.expr, args: list[ast.expr]) -> tuple[Value, ...]:
        """Sizes of an array, as a tuple or one by one."""
        return tuple(self.index(d) for d in (first.elts if isinstance(first, ast.Tuple) else args))

    def dtype(self, node: ast.Call, args: list[ast.expr]) -> Scalar:
        found = self.resolve(args[0]) if args else np.float64
        if found not in _CASTS:
            raise self.unknown("dtype", node)
        return _CASTS[found]

    def listed(self, node: ast.Call) -> Value:
        """`np.array([…])`, also of rows."""
        outer = node.args[0]
        if not isinstance(outer, ast.List) or not outer.elts:
            raise self.unknown("list of numbers", node)
        rows = [row.elts if isinstance(row, ast.List) else [row] for row in outer.elts]
        values = [[self.value(x) for x in row] for row in rows]
        kind = self.scalar(values[0][0])
        for row in values:
            for x in row:
                kind = wider(kind, self.scalar(x))
        kind = self.dtype(node, node.args[1:]) if len(node.args) > 1 else kind
        deep = isinstance(outer.elts[0], ast.List)
        if any(
            isinstance(row, ast.List) != deep or len(x) != len(rows[0]) for row, x in zip(outer.elts, rows, strict=True)
        ):
            raise self.unknown("list of numbers", node)
        dims = [number(len(rows), I64), *([number(len(rows[0]), I64)] if deep else [])]
        array = self.allocate(kind, tuple(dims), False)
        for i, row in enumerate(values):
            for j, x in enumerate(row):
                at = [number(i, I64), *([number(j, I64)] if deep else [])]
                self.emit(f"store {kind.llvm} {self.cast(x, kind).text}, ptr {self.address(array, at)}")
        return array

    def magnitude(self, value: Value) -> Value:
        kind = self.scalar(value)
        if kind in (I64, BOOL):
            value = self.cast(value, I64)
            below = self.register(f"icmp slt i64 {value.text}, 0", BOOL)
            other = self.register(f"sub i64 0, {value.text}", I64)
            return self.register(f"select i1 {below.text}, i64 {other.text}, i64 {value.text}", I64)
        return self.intrinsic("fabs", [value], kind)

    def extreme(self, least: bool, given: list[Value]) -> Value:
        """`min` and `max` as Python has them: a later argument only where it is truly beyond."""
        kind = self.scalar(given[0])
        for x in given[1:]:
            kind = wider(kind, self.scalar(x))
        best = self.cast(given[0], kind)
        for x in given[1:]:
            other = self.cast(x, kind)
            beyond = self.compared(ast.Lt() if least else ast.Gt(), other, best)
            text = f"select i1 {beyond.text}, {kind.llvm} {other.text}, {kind.llvm} {best.text}"
            best = self.register(text, kind)
        return best

    def intrinsic(self, name: str, args: list[Value], kind: Scalar) -> Value:
        suffix = "f32" if kind is F32 else "f64"
        types = ", ".join(kind.llvm for _ in args)
        self.home.declare(f"declare {kind.llvm} @llvm.{name}.{suffix}({types})")
        return self.register(
            f"call{self.home.flags} {kind.llvm} @llvm.{name}.{suffix}"
            f"({', '.join(f'{kind.llvm} {a.text}' for a in args)})",
            kind,
        )

    def external(self, name: str, args: list[Value]) -> Value:
        """A function of the C library, which the optimiser must not replace by others."""
        types = ", ".join("double" for _ in args)
        self.calls = True
        self.home.declare(f"declare double @{name}({types}) nounwind willreturn memory(none) nobuiltin")
        return self.register(f"call double @{name}({', '.join(f'double {a.text}' for a in args)}) nobuiltin", F64)

    def fma(self, a: Value, b: Value, c: Value) -> Value:
        return self.intrinsic("fma", [a, b, c], F64)

    def narrowed(self, value: Value, given: list[Value]) -> Value:
        """float32 where all that it came from is."""
        return self.cast(value, F32) if all(x.type is F32 for x in given) else value

    def products(self, given: list[Value]) -> Value:
        """See `elementary.dot`."""
        wide = [self.cast(x, F64) for x in given]
        chains = elementary.chains_of(len(wide) // 2)
        sums = [self.operation(ast.Mult(), wide[2 * c], wide[2 * c + 1]) for c in range(chains)]
        for j in range(chains, len(wide) // 2):
            sums[j % chains] = self.fma(wide[2 * j], wide[2 * j + 1], sums[j % chains])
        while len(sums) > 1:
            sums = [self.operation(ast.Add(), a, b) for a, b in zip(sums[::2], sums[1::2], strict=True)]
        return self.narrowed(sums[0], given)

    def streamed(self, given: list[Value]) -> Value:
        """See `vectorised.stream`."""
        target, row, column, first, source, start, count = given
        if not isinstance(count.constant, int) or count.constant <= 0 or count.constant % 8 or not self.outer:
            raise TranslationError("a stream has no constant number of eights, or is no part of the outermost function")
        for needed in ("declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)", _STREAM):
            self.home.declare(needed)
        self.written |= target.roots
        places = self.address(target, [row, column, first]), self.address(source, [start])
        self.emit(f"call void @stream(ptr {places[0]}, ptr {places[1]}, i64 {8 * count.constant})")
        return Value(NOTHING)

    def inner(self, function: FunctionType, given: list[Value]) -> Value:
        """A call of another function of this language; in lanes, where all is inline, one made for its constants."""
        constants = tuple(value.constant for value in given) if self.home.lanes else ()
        callee = self.home.function(function, tuple(value.type for value in given), constants)
        args = []
        for k, value in enumerate(given):
            if isinstance(value.type, ArrayType):
                if k in callee.written:
                    self.written |= value.roots
                args += [f"ptr {value.text}", *(f"i64 {d}" for d in value.dims)]
            else:
                args.append(f"{self.scalar(value).llvm} {value.text}")
        self.calls |= callee.calls
        kind = callee.returned or NOTHING
        text = f"call {llvm_of(kind)} @{callee.name}({', '.join(args)})"
        if kind == NOTHING:
            self.emit(text)
            return Value(NOTHING)
        if isinstance(kind, TupleType):
            whole = self.register(text, I64).text
            items = []
            for k, item in enumerate(kind.items):
                if not isinstance(item, Scalar):
                    raise TranslationError(f"a function returns {item} in a tuple")
                items.append(self.register(f"extractvalue {llvm_of(kind)} {whole}, {k}", item))
            return Value(kind, items=tuple(items))
        assert isinstance(kind, Scalar)
        return self.register(text, kind)
