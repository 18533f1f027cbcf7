"""Expressions and models as LaTeX, which notebooks typeset."""

from __future__ import annotations

import re
from collections.abc import Iterable
from math import pi, tau
from typing import TYPE_CHECKING

from dynlib.spec.expressions import (
    EVENT_MACROS,
    FUNCTIONS,
    Binary,
    Bool,
    Call,
    Choice,
    Compare,
    Item,
    Lag,
    Logic,
    Name,
    Node,
    Num,
    Reduce,
    Unary,
    builtin_constant,
    children,
)

if TYPE_CHECKING:
    from dynlib.spec.model import Action, Equation, Event, Model

GREEK = frozenset(
    (
        *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
        *("xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
        *("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"),
    )
)
MOST_PARTS = 400
"""Parts of an expression beyond which it is left out: no one reads it, and MathJax would take seconds."""
MOST_ROWS = 40

_OPERATORS = {
    **{name: rf"\{name}" for name in ("exp", "log", "sin", "cos", "tan", "sinh", "cosh", "tanh", "min", "max")},
    "asin": r"\arcsin",
    "acos": r"\arccos",
    "atan": r"\arctan",
}
_RELATIONS = {"<": "<", "<=": r"\le", ">": ">", ">=": r"\ge", "==": "=", "!=": r"\ne"}
_CHOICE, _OR, _AND, _NOT, _COMPARED, _SUM, _PRODUCT, _SIGN, _POWER, _ATOM = range(10)
_NEW_ROW = r" \\ "
_LEFT_OUT = r"\ldots"


def name_latex(name: str) -> str:
    """A name as a symbol: Greek letters by their names, what follows an underscore or digits as a subscript.

    >>> name_latex("tau_m"), name_latex("x1"), name_latex("speed")
    ('\\\\tau_{\\\\mathrm{m}}', 'x_{1}', '\\\\mathrm{speed}')
    """
    head, *rest = [part for part in name.split("_") if part] or [name]
    digits = re.fullmatch(r"([A-Za-z]+?)([0-9]+)", head)
    if digits:
        head, rest = digits[1], [digits[2], *rest]
    below = ",".join(_symbol(part, upright=True) for part in rest)
    return _symbol(head) + (f"_{{{below}}}" if below else "")


def _symbol(word: str, upright: bool = False) -> str:
    if word in GREEK:
        return rf"\{word}"
    if word.isdecimal() and word.isascii():
        return word
    if len(word) == 1 and word.isalpha() and word.isascii() and not upright:
        return word
    return rf"\mathrm{{{text_latex(word)}}}"


def text_latex(text: str) -> str:
    """Any text with nothing in it that LaTeX takes for an order: it may come from a file."""
    return "".join(c if c.isalnum() or c in " .,:;-+*/()=" else r"\_" if c == "_" else r"\ast " for c in text)


def number_latex(value: float) -> str:
    """A number as it is written by hand.

    >>> number_latex(28.0), number_latex(1e-05)
    ('28', '10^{-5}')
    """
    if value in (pi, tau):  # the language has them as numbers
        return r"\pi" if value == pi else r"2\pi"
    text = repr(value).removesuffix(".0")
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    power = f"10^{{{int(exponent)}}}"
    return power if mantissa == "1" else rf"{mantissa} \cdot {power}"


def expression_latex(node: Node) -> str:
    """An expression of a model as LaTeX; one that is too long to be read is three dots.

    >>> from dynlib.spec.expressions import parse
    >>> print(expression_latex(parse("(v - v_rest)/tau + sqrt(2)*x**2")))
    \\frac{v - v_{\\mathrm{rest}}}{\\tau} + \\sqrt{2}\\,x^{2}
    """
    return _LEFT_OUT if _is_long(node) else _typeset(node)[0]


def _is_long(node: Node) -> bool:
    level, parts = [node], 0
    while level and parts <= MOST_PARTS:
        parts += len(level)
        level = [part for parent in level for part in children(parent)]
    return parts > MOST_PARTS


def _part(node: Node, least: int) -> str:
    text, strength = _typeset(node)
    return text if strength >= least else rf"\left({text}\right)"


def _listed(nodes: Iterable[Node]) -> str:
    return ", ".join(_part(node, _OR) for node in nodes)


def _typeset(node: Node) -> tuple[str, int]:
    """The text and how strongly it binds."""
    match node:
        case Num(value=value):
            text = number_latex(value)
            return text, _PRODUCT if "^" in text or text.startswith("2\\") else _ATOM
        case Bool(value=flag):
            return rf"\mathrm{{{str(flag).lower()}}}", _ATOM
        case Name(id=name):
            return (r"\mathrm{e}" if name == "e" and builtin_constant(name) is not None else name_latex(name)), _ATOM
        case Item(id=name, index=index):
            return _indexed(name, index), _ATOM
        case Unary(op="not", operand=operand):
            return rf"\lnot {_part(operand, _SUM)}", _NOT
        case Unary(operand=operand):
            return f"-{_part(operand, _PRODUCT)}", _SIGN
        case Binary(op="**", left=left, right=right):
            return f"{_part(left, _ATOM)}^{{{_part(right, _CHOICE)}}}", _POWER
        case Binary(op="/", left=left, right=right):
            return rf"\frac{{{_part(left, _CHOICE)}}}{{{_part(right, _CHOICE)}}}", _PRODUCT
        case Binary(op="//", left=left, right=right):
            return rf"\left\lfloor\frac{{{_part(left, _CHOICE)}}}{{{_part(right, _CHOICE)}}}\right\rfloor", _ATOM
        case Binary(op="%", left=left, right=right):
            return rf"{_part(left, _PRODUCT)} \bmod {_part(right, _POWER)}", _SUM
        case Binary(op="*", left=left, right=right):
            return _product(left, right), _PRODUCT
        case Binary(op=op, left=left, right=right):
            return f"{_part(left, _SUM)} {op} {_part(right, _PRODUCT)}", _SUM
        case Compare(ops=ops, operands=operands):
            rest = "".join(f" {_RELATIONS[op]} {_part(x, _SUM)}" for op, x in zip(ops, operands[1:], strict=True))
            return _part(operands[0], _SUM) + rest, _COMPARED
        case Logic(op=op, operands=operands):
            strength, sign = (_AND, r" \land ") if op == "and" else (_OR, r" \lor ")
            return sign.join(_part(x, strength + 1) for x in operands), strength
        case Choice():
            return _cases(node), _ATOM
        case Call(fn=fn, args=args):
            return _call(fn, args)
        case Lag(state=state, steps=steps):
            return rf"{name_latex(state)}^{{(-{steps})}}", _POWER
        case Reduce():
            return _reduction(node), _PRODUCT
    raise TypeError(f"not an expression node: {node!r}")


def _indexed(name: str, index: Node) -> str:
    symbol = name_latex(name)
    inner = _part(index, _CHOICE)
    return f"{symbol[:-1]},{inner}}}" if symbol.endswith("}") and "_{" in symbol else f"{symbol}_{{{inner}}}"


def _product(left: Node, right: Node) -> str:
    one, other = _part(left, _PRODUCT), _part(right, _SIGN)
    between = r" \cdot " if re.match(r"[0-9]|\\frac|-", other) else r"\,"
    return one + between + (rf"\left({other}\right)" if other.startswith("-") else other)


def _cases(node: Choice) -> str:
    rows: list[str] = []
    rest: Node = node
    while isinstance(rest, Choice):
        rows.append(rf"{_part(rest.then, _OR)} & \text{{if }} {_part(rest.cond, _OR)}")
        rest = rest.other
    rows.append(rf"{_part(rest, _OR)} & \text{{otherwise}}")
    return rf"\begin{{cases}} {_NEW_ROW.join(rows)} \end{{cases}}"


def _call(fn: str, args: tuple[Node, ...]) -> tuple[str, int]:
    match fn, args:
        case "sqrt", (x,):
            return rf"\sqrt{{{_part(x, _CHOICE)}}}", _ATOM
        case "abs", (x,):
            return rf"\left|{_part(x, _CHOICE)}\right|", _ATOM
        case "floor", (x,):
            return rf"\left\lfloor {_part(x, _CHOICE)}\right\rfloor", _ATOM
        case "ceil", (x,):
            return rf"\left\lceil {_part(x, _CHOICE)}\right\rceil", _ATOM
        case "pow", (x, y):
            return f"{_part(x, _ATOM)}^{{{_part(y, _CHOICE)}}}", _POWER
        case "exp", (x,):
            return rf"\mathrm{{e}}^{{{_part(x, _CHOICE)}}}", _POWER
        case (("log2" | "log10"), (x,)):
            return rf"\log_{{{fn[3:]}}}\left({_part(x, _CHOICE)}\right)", _ATOM
        case _:
            known = fn in FUNCTIONS or fn in EVENT_MACROS
            operator = _OPERATORS.get(fn, rf"\operatorname{{{text_latex(fn)}}}") if known else name_latex(fn)
            return rf"{operator}\left({_listed(args)}\right)", _ATOM


def _reduction(node: Reduce) -> str:
    sign = r"\sum" if node.kind == "sum" else r"\prod"
    var, last = name_latex(node.var), Binary("-", node.stop, Num(1.0))
    end = number_latex(node.stop.value - 1.0) if isinstance(node.stop, Num) else _part(last, _CHOICE)
    conditions = [f"{var} = {_part(node.start, _CHOICE)}"]
    if node.step != Num(1.0):
        conditions[0] += rf",\ {var} \mathrel{{+}}= {_part(node.step, _CHOICE)}"
    if node.cond is not None:
        conditions.append(_part(node.cond, _OR))
    below = conditions[0] if len(conditions) == 1 else rf"\substack{{{_NEW_ROW.join(conditions)}}}"
    return rf"{sign}_{{{below}}}^{{{end}}} {_part(node.body, _PRODUCT)}"


def _left(kind: str, equation: Equation) -> str:
    symbol = name_latex(equation.target) if equation.index is None else _indexed(equation.target, equation.index)
    if kind == "map":
        return f"{symbol}'"
    if kind == "sde":
        return rf"\mathrm{{d}}{symbol}"
    if equation.index is not None:
        return rf"\frac{{\mathrm{{d}}{symbol}}}{{\mathrm{{d}}t}}"
    head, below, rest = symbol.partition("_")
    return rf"\dot{{{head}}}{below}{rest}"


def _for(equation: Equation) -> str:
    loop = equation.loop
    if loop is None:
        return ""
    indices, var = loop.indices, name_latex(loop.var)
    if not indices:
        return ""
    shown = [str(i) for i in indices[:2]] if len(indices) > 2 and loop.step != 1 else [str(indices[0])]
    return rf" \qquad {var} = {', '.join(shown)}" + (rf", \ldots, {indices[-1]}" if len(indices) > 1 else "")


def equations_latex(model: Model) -> str:
    """The equations, functions and auxiliary quantities of a model as one `aligned` block.

    >>> from dynlib.spec.locations import load_model
    >>> print(equations_latex(load_model("builtin://map/logistic")))
    \\begin{aligned}
    x' &= r\\,x\\,\\left(1 - x\\right)
    \\end{aligned}
    """
    rows = []
    for number, equation in enumerate(model.equations):
        right = expression_latex(equation.expr)
        if model.kind == "sde":
            drift = right if right == "0" else rf"\left({right}\right)\,\mathrm{{d}}t"
            right = " + ".join([drift, *_noise(model, equation, number)])
        rows.append(f"{_left(model.kind, equation)} &= {right}{_for(equation)}")
    for aux in model.aux:
        rows.append(f"{name_latex(aux.name)} &= {expression_latex(aux.expr)}")
    for function in model.functions:
        names = ", ".join(name_latex(a) for a in function.args)
        rows.append(rf"{name_latex(function.name)}\left({names}\right) &= {expression_latex(function.expr)}")
    if len(rows) > MOST_ROWS:
        rows = [*rows[:MOST_ROWS], rf"&\vdots \quad \text{{({len(rows) - MOST_ROWS} more)}}"]
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def _noise(model: Model, equation: Equation, number: int) -> list[str]:
    terms = []
    for j, column in enumerate(model.noise):
        for part in column:
            same = part.target == equation.target and part.index == equation.index and part.loop == equation.loop
            if same and part.expr != Num(0.0):
                index = j if model.noise_shared else number
                terms.append(rf"{_part(part.expr, _PRODUCT)}\,\mathrm{{d}}W_{{{index + 1}}}")
    return terms


def event_latex(event: Event) -> str:
    """What an event does: its condition and, after an arrow, its assignments."""
    deeds = r",\ ".join(_action(a) for a in event.actions)
    return expression_latex(event.cond) + (rf" \;\Rightarrow\; {deeds}" if deeds else "")


def _action(action: Action) -> str:
    symbol = name_latex(action.target) if action.index is None else _indexed(action.target, action.index)
    return rf"{symbol} \leftarrow {expression_latex(action.expr)}"
