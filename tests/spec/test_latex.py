"""Equations as LaTeX."""

from __future__ import annotations

import pytest

import dynlib
from dynlib.errors import Where
from dynlib.spec.expressions import parse
from dynlib.spec.latex import equations_latex, event_latex, expression_latex, name_latex

WRITTEN = {
    "a + b*c": r"a + b\,c",
    "(a + b)*c": r"\left(a + b\right)\,c",
    "a - (b - c)": r"a - \left(b - c\right)",
    "a - (b + c)": r"a - \left(b + c\right)",
    "a*(-b)": r"a \cdot \left(-b\right)",
    "-(a + b)": r"-\left(a + b\right)",
    "-a**2": r"-a^{2}",
    "(-a)**2": r"\left(-a\right)^{2}",
    "(a/b)**2": r"\left(\frac{a}{b}\right)^{2}",
    "a**b**c": r"a^{b^{c}}",
    "(a**b)**c": r"\left(a^{b}\right)^{c}",
    "2*3": r"2 \cdot 3",
    "1e-7*x": r"10^{-7}\,x",
    "2.5e20": r"2.5 \cdot 10^{20}",
    "exp(-x/tau_m)": r"\mathrm{e}^{\frac{-x}{\tau_{\mathrm{m}}}}",
    "sqrt(abs(x))": r"\sqrt{\left|x\right|}",
    "sin(x)**2": r"\sin\left(x\right)^{2}",
    "x if x > 0 and not y < 1 else 0 if y == 1 else 2": (
        r"\begin{cases} x & \text{if } x > 0 \land \lnot \left(y < 1\right) \\ 0 & \text{if } y = 1 \\ "
        r"2 & \text{otherwise} \end{cases}"
    ),
    "u[i-1] + w_x[2]": r"u_{i - 1} + w_{\mathrm{x},2}",
    "sum(u[j]*k for j in range(3) if j != i)": r"\sum_{\substack{j = 0 \\ j \ne i}}^{2} u_{j}\,k",
    "prod(u[j] + 1 for j in range(1, n))": r"\prod_{j = 1}^{n - 1} \left(u_{j} + 1\right)",
    "x // 2 + x % 3": r"\left\lfloor\frac{x}{2}\right\rfloor + \left(x \bmod 3\right)",
    "clip(x, 0, 1)": r"\operatorname{clip}\left(x, 0, 1\right)",
    "0 < x <= 1": r"0 < x \le 1",
}


@pytest.mark.parametrize("text", WRITTEN)
def test_an_expression_is_typeset(text: str) -> None:
    assert expression_latex(parse(text, Where())) == WRITTEN[text]


def test_names_are_symbols() -> None:
    assert [name_latex(n) for n in ("x", "mu", "x12", "speed", "v_rest_2", "_a", "__")] == [
        "x", r"\mu", "x_{12}", r"\mathrm{speed}", r"v_{\mathrm{rest},2}", "a", r"\mathrm{\_\_}",
    ]  # fmt: skip


def test_equations_of_models() -> None:
    lorenz = dynlib.load_model("builtin://ode/lorenz")
    assert equations_latex(lorenz) == (
        "\\begin{aligned}\n\\dot{x} &= \\sigma\\,\\left(y - x\\right) \\\\\n"
        "\\dot{y} &= x\\,\\left(\\rho - z\\right) - y \\\\\n\\dot{z} &= x\\,y - \\beta\\,z\n\\end{aligned}"
    )
    henon = dynlib.load_model("builtin://map/henon")
    assert r"x' &= 1 - a\,x^{2} + y \\" in equations_latex(henon)
    neuron = dynlib.load_model("builtin://ode/izhikevich")
    assert event_latex(neuron.events[0]) == r"v \ge v_{\mathrm{th}} \;\Rightarrow\; v \leftarrow c,\ u \leftarrow u + d"
    planets = equations_latex(dynlib.load_model("builtin://ode/outer_solar_system"))
    assert r"\frac{\mathrm{d}x_{i}}{\mathrm{d}t} &= u_{i} \qquad i = 0, \ldots, 5 \\" in planets
    noisy = dynlib.sde_model(
        "ou", states={"x": 1.0}, params={"k": 1.0, "s": 0.1}, equations={"x": "-k*x"}, noise={"x": "s"}
    )
    assert r"\mathrm{d}x &= \left(-k\,x\right)\,\mathrm{d}t + s\,\mathrm{d}W_{1}" in equations_latex(noisy)


@pytest.mark.parametrize("name", dynlib.builtin_models())
def test_every_model_of_the_library_has_balanced_braces(name: str) -> None:
    text = equations_latex(dynlib.load_model(name))
    depth = 0
    for before, c in zip(" " + text, text, strict=False):
        depth += (c == "{" and before != "\\") - (c == "}" and before != "\\")
        assert depth >= 0
    assert depth == 0
    assert text.count(r"\left") == text.count(r"\right") + text.count(r"\leftarrow")


def test_what_is_too_long_to_read_is_left_out() -> None:
    assert expression_latex(parse(" + ".join(["x*y"] * 150))) == r"\ldots"
    many = dynlib.ode_model(
        "many", states={f"x{i}": 0.0 for i in range(60)}, equations={f"x{i}": "1" for i in range(60)}
    )
    assert equations_latex(many).count("&=") == 40
    assert "(20 more)" in equations_latex(many)
