"""Evaluates the equations of a model straight from its expression trees, without any code generation.

Numbers may be complex with an infinitesimal imaginary part: comparisons look at the real part, and every function
carries its derivative. So one evaluation at `y + i h` gives a partial derivative to full precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from dynlib.spec.expressions import Binary, Bool, Call, Choice, Compare, Item, Logic, Name, Node, Num, Reduce, Unary
from dynlib.spec.locations import load_model
from dynlib.spec.model import Equation, Event, Model

Number = float | complex
Vector = NDArray[np.float64]
STEP = 1e-40
_REAL: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "exp": (math.exp, math.exp),
    "expm1": (math.expm1, math.exp),
    "sin": (math.sin, math.cos),
    "cos": (math.cos, lambda x: -math.sin(x)),
    "tanh": (math.tanh, lambda x: 1.0 - math.tanh(x) ** 2),
    "cosh": (math.cosh, math.sinh),
    "sqrt": (math.sqrt, lambda x: 0.5 / math.sqrt(x)),
    "abs": (abs, lambda x: math.copysign(1.0, x)),
}
_ORDER: dict[str, Callable[[float, float], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
}


def real(x: Number) -> float:
    """The value without its infinitesimal part."""
    return x.real if isinstance(x, complex) else x


class Field:
    """The right-hand side of a model as a function of time and state, with chosen parameter values.

    `model` is the location of a built-in model without the leading `builtin://`, or a `Model`.
    """

    def __init__(self, model: str | Model, **params: float) -> None:
        self.model = load_model(f"builtin://{model}") if isinstance(model, str) else model
        self.params = {name: v for q in self.model.params for name, v in zip(q.element_names, q.values, strict=True)}
        unknown = params.keys() - self.params.keys()
        if unknown:
            raise KeyError(f"no parameters {sorted(unknown)} in {self.model.name}")
        self.params.update(params)
        self.states = [name for q in self.model.states for name in q.element_names]
        self._aux = {a.name: a.expr for a in self.model.aux}
        self._functions = {f.name: f for f in self.model.functions}

    @property
    def initial(self) -> Vector:
        """The initial values of the model."""
        return np.array([v for q in self.model.states for v in q.values])

    def __call__(self, t: float, y: Sequence[float] | Vector) -> Vector:
        """The derivative, or the next state of a map."""
        return np.array([real(v) for v in self._system(self.model.equations, t, [float(v) for v in y])])

    def inverse(self, y: Sequence[float] | Vector) -> Vector:
        """The state one iteration ago, by the inverse that the model gives."""
        return np.array([real(v) for v in self._system(self.model.inverse, 0.0, [float(v) for v in y])])

    def jacobian(self, y: Sequence[float] | Vector, t: float = 0.0) -> Vector:
        """Partial derivatives, by evaluation with an infinitesimal imaginary part."""
        columns = []
        for k in range(len(self.states)):
            point: list[Number] = [complex(float(v), STEP if i == k else 0.0) for i, v in enumerate(y)]
            columns.append([complex(v).imag / STEP for v in self._system(self.model.equations, t, point)])
        return np.array(columns).T

    def slope(self, parameter: str, y: Sequence[float] | Vector, t: float = 0.0) -> Vector:
        """Partial derivatives with respect to a parameter, in the same way."""
        names = {**self._names(t, [float(v) for v in y]), parameter: complex(self.params[parameter], STEP)}
        return np.array([complex(v).imag / STEP for v in self._values(self.model.equations, names)])

    def stated_jacobian(self, y: Sequence[float] | Vector) -> Vector:
        """The Jacobian as the model file states it."""
        names = self._names(0.0, [float(v) for v in y])
        return np.array([[real(self.value(cell, names)) for cell in row] for row in self.model.jacobian])

    def aux(self, name: str, y: Sequence[float] | Vector, t: float = 0.0) -> float:
        """The value of an aux variable."""
        return real(self.value(self._aux[name], self._names(t, [float(v) for v in y])))

    def function(self, name: str, *args: float) -> float:
        """The value of a function of the model."""
        found = self._functions[name]
        return real(self.value(found.expr, dict(zip(found.args, args, strict=True))))

    def equilibrium(self, start: Sequence[float] | Vector, tol: float = 1e-13) -> Vector:
        """The equilibrium (of a map, the fixed point) that Newton's method reaches from `start`."""
        y = np.array(start, dtype=float)
        unit = np.eye(len(y)) if self.model.kind == "map" else np.zeros((len(y), len(y)))
        for _ in range(60):
            change = np.linalg.solve(self.jacobian(y) - unit, self(0.0, y) - unit @ y)
            y -= change
            if np.all(np.abs(change) <= tol * (1.0 + np.abs(y))):
                return y
        raise ArithmeticError("Newton's method did not converge")

    def eigenvalues(self, y: Sequence[float] | Vector) -> NDArray[np.complex128]:
        """Eigenvalues of the Jacobian, by descending real part."""
        values = np.linalg.eigvals(self.jacobian(y)).astype(complex)
        return values[np.argsort(-values.real, kind="stable")]

    def holds(self, event: Event, y: Sequence[float] | Vector, t: float = 0.0) -> bool:
        """Whether the condition of an event holds."""
        return bool(real(self.value(event.cond, self._names(t, [float(v) for v in y]))))

    def fire(self, event: Event, y: Sequence[float] | Vector, t: float = 0.0) -> Vector:
        """The state after the actions of an event, taken one after the other."""
        names = self._names(t, [float(v) for v in y])
        for action in event.actions:
            names[action.target] = self.value(action.expr, names)
        return np.array([real(names[s]) for s in self.states])

    def _names(self, t: float, y: Sequence[Number]) -> dict[str, Number]:
        return {**self.params, "t": t, **dict(zip(self.states, y, strict=True))}

    def _system(self, equations: tuple[Equation, ...], t: float, y: Sequence[Number]) -> list[Number]:
        return self._values(equations, self._names(t, y))

    def _values(self, equations: tuple[Equation, ...], names: dict[str, Number]) -> list[Number]:
        found: dict[str, Number] = {}
        for e in equations:
            for i in e.loop.indices if e.loop else (0,):
                inside = {**names, e.loop.var: float(i)} if e.loop else names
                name = e.target if e.index is None else self._element(e.target, e.index, inside)
                found[name] = self.value(e.expr, inside)
        return [found[s] for s in self.states]

    def _element(self, name: str, index: Node, names: Mapping[str, Number]) -> str:
        return f"{name}[{int(real(self.value(index, names)))}]"

    def value(self, node: Node, names: Mapping[str, Number]) -> Number:
        """The value of an expression; aux variables and functions of the model are entered."""
        match node:
            case Num(value=number):
                return number
            case Bool(value=flag):
                return float(flag)
            case Name(id=name):
                return names[name] if name in names else self.value(self._aux[name], names)
            case Item(id=name, index=index):
                return names[self._element(name, index, names)]
            case Reduce(kind="sum", body=body, var=var, start=start, stop=stop, step=step, cond=cond):
                bounds = (int(real(self.value(part, names))) for part in (start, stop, step))
                inside = [{**names, var: float(i)} for i in range(*bounds)]
                return sum(self.value(body, n) for n in inside if cond is None or real(self.value(cond, n)))
            case Unary(op="-", operand=operand):
                return -self.value(operand, names)
            case Unary(operand=operand):
                return float(not real(self.value(operand, names)))
            case Binary(op=op, left=left, right=right):
                return _arithmetic(op, self.value(left, names), self.value(right, names))
            case Compare(ops=ops, operands=operands):
                values = [real(self.value(part, names)) for part in operands]
                return float(all(_ORDER[op](a, b) for op, a, b in zip(ops, values, values[1:], strict=False)))
            case Logic(op=op, operands=operands):
                return float((all if op == "and" else any)(real(self.value(part, names)) for part in operands))
            case Choice(cond=cond, then=then, other=other):
                return self.value(then if real(self.value(cond, names)) else other, names)
            case Call(fn=fn, args=args):
                return self._call(fn, [self.value(part, names) for part in args], names)
        raise TypeError(f"{node!r} is not expected in a built-in model")

    def _call(self, fn: str, args: list[Number], names: Mapping[str, Number]) -> Number:
        if fn in self._functions:
            return self.value(
                self._functions[fn].expr, {**names, **dict(zip(self._functions[fn].args, args, strict=True))}
            )
        if fn in ("min", "max"):
            return (min if fn == "min" else max)(args, key=real)
        (x,) = args
        f, slope = _REAL[fn]
        return complex(f(x.real), slope(x.real) * x.imag) if isinstance(x, complex) else f(x)


def _arithmetic(op: str, a: Number, b: Number) -> Number:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a / b
        case "%":
            return a - math.floor(real(a) / real(b)) * b
        case "**":
            return a**b
    raise TypeError(f"{op} is not expected in a built-in model")
