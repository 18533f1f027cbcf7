"""What a notebook shows."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import numpy as np
import pytest

import dynlib
from dynlib import markup
from dynlib.results.preview import sparkline

HOSTILE = '"><script>alert(1)</script>&amp;$\\href{javascript:alert(1)}{x}$\x1b[31m'
MODEL = f"""inline:
[model]
type = "ode"
name = {json.dumps(HOSTILE)}
title = {json.dumps(HOSTILE)}
description = {json.dumps(HOSTILE)}
[states]
x = 1.0
"u[20]" = 0.5
[params]
k = 1.0
[equations.rhs]
x = "k if x < 2 else -k"
"u[i]" = "-u[i] for i in range(20)"
[events.down]
phase = "post"
cond = "x > 1.5"
action = "x = 0"
log = ["x"]
"""


class Checked(HTMLParser):
    """Every element is one of ours and is closed."""

    ALLOWED = frozenset(
        {*("div", "strong", "p", "table", "tr", "th", "td", "pre", "span")}
        | {*("svg", "polyline", "circle", "title", "text")}
    )

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.outside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.ALLOWED, tag
        assert not any(name.startswith("on") or name in ("src", "href") for name, _ in attrs)
        if tag != "polyline":
            self.open.append(tag if ("class", "tex2jax_ignore mathjax_ignore") not in attrs else "quiet")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.ALLOWED, tag

    def handle_endtag(self, tag: str) -> None:
        last = self.open.pop()
        assert tag == ("span" if last == "quiet" else last)

    def handle_data(self, data: str) -> None:
        if "quiet" not in self.open and "pre" not in self.open and "svg" not in self.open:
            self.outside.append(data)


def checked(shown: object) -> str:
    text = shown._repr_html_()  # type: ignore[attr-defined]
    parser = Checked()
    parser.feed(text)
    parser.close()
    assert not parser.open
    assert "javascript" not in "".join(parser.outside)
    assert "\x1b" not in text
    return text


def session() -> dynlib.Sim:
    sim = dynlib.setup(MODEL, stepper="rk4", dt=0.01, jit=False)
    sim.run(T=1.0, tag=HOSTILE)
    sim.create_snapshot(HOSTILE, HOSTILE)
    sim.assign(k=2.0)
    return sim


def test_nothing_from_a_file_or_a_user_is_an_order_to_the_browser() -> None:
    sim = session()
    full, snapshot = sim.full_model, sim.create_snapshot("after")
    outcome = sim.run(T=2.0, resume=True, tag="second")
    for shown in (full.model, full, sim, outcome, snapshot, sim.results(), sim.tree(), sim.diff(HOSTILE)):
        assert checked(shown)
    hostile = next(b.moment for b in sim.tree().branches if b.moment.name == HOSTILE)
    for shown in (full.model, sim, sim.results(), sim.tree(), hostile):
        assert "&lt;script&gt;" in checked(shown)


def test_a_model_shows_equations_values_and_events() -> None:
    model = dynlib.load_model("builtin://ode/izhikevich")
    text = checked(model)
    assert r"$$\begin{aligned}" in text
    assert r"\dot{v} &amp;= 0.04\,v^{2}" in text
    assert "spike" in text
    assert r"\Rightarrow" in text
    assert "bursting" in text
    assert model._repr_latex_().startswith("$$\\begin{aligned}")
    assert "20 elements: 0.5, 0.5, 0.5, …" in checked(dynlib.load_model(MODEL))


def test_a_session_shows_where_it_stands() -> None:
    sim = dynlib.setup("builtin://ode/izhikevich", jit=False)
    outcome = sim.run(T=20.0)
    text = checked(sim)
    assert "session of izhikevich" in text
    assert "201 samples in 1 segments" in text
    assert "run started: DONE" in checked(outcome)
    assert "interpreted" in checked(sim.full_model)
    assert checked(sim.create_snapshot("here")).count("<tr>") == 6


def test_results_show_curves_in_which_no_spike_is_lost() -> None:
    sim = dynlib.setup("builtin://ode/izhikevich", jit=False)
    assert "polyline" not in checked(sim.results())
    sim.run(T=50.0)
    assert checked(sim.results()).count("<polyline") == 2
    t = np.arange(100_000.0)
    spike = np.zeros(len(t))
    spike[34_567] = 1.0
    assert ",2.0 " in sparkline(t, spike).text
    assert len(sparkline(t, spike).text) < 10_000
    assert sparkline(t, np.full(len(t), np.nan)).text == ""
    assert "nan" not in sparkline(t, np.full(len(t), 1e308)).text


def test_a_tree_is_a_picture_with_a_dot_for_each_moment() -> None:
    sim = dynlib.setup("builtin://ode/van_der_pol", jit=False)
    assert checked(sim.tree())
    sim.run(T=1.0)
    other = sim.fork("branch")
    other.assign(mu=3.0)
    for each in (sim, other):
        each.run(T=2.0, resume=True)
        each.create_snapshot("end")
    tree = sim.tree(other)
    text = checked(tree)
    assert text.count("<circle") == len(tree.branches)
    assert text.count("<polyline") == len(tree.branches) - 1
    assert len(set(tree.rows)) == 2
    assert "mu" in text


def test_names_in_the_picture_of_a_tree_do_not_lie_over_each_other() -> None:
    dots = [markup.Dot("a very long name of a snapshot", 0.0, 0, None), markup.Dot("end", 1.0, 0, 0)]
    near = [*dots, markup.Dot("far away", 10.0, 0, 1)]
    assert "a very long name of a snapshot" in markup.tree_picture(dots)
    assert ">a ver…<" in markup.tree_picture(near)
    assert "<title>a very long name of a snapshot" in markup.tree_picture(near)
    crowd = [markup.Dot(f"point {k}", float(k), 0, k - 1 if k else None) for k in range(200)]
    assert markup.tree_picture(crowd).count("<text") == 1  # the last one's


def test_of_long_tables_both_ends_are_shown() -> None:
    names = [f"x{k}" for k in range(100)]
    model = dynlib.ode_model("many", states=dict.fromkeys(names, 1.0), equations={name: f"-{name}" for name in names})
    sim = dynlib.setup(model, jit=False, stepper="euler", dt=0.5)
    for k in range(40):
        sim.run(T=0.5 * (k + 1), resume=k > 0, tag=f"part{k}")
    cases = ((model, "x_{0}", "x_{99}", 28), (sim, "x0", "x99", 32), (sim.results(), "part0", "part39", 40))
    for shown, first, last, rows in cases:
        text = checked(shown)
        assert first in text
        assert last in text
        assert "more …" in text
        assert text.count("<tr>") <= rows
    assert len(repr(sim.results()).splitlines()) < 40
    assert "part39" in repr(sim.results())
    assert [k for k in markup.both_ends(25) if k is None] == []
    assert [k for k in markup.both_ends(26) if k is not None] == [*range(12), *range(14, 26)]


def test_an_event_shows_its_entries() -> None:
    sim = dynlib.setup("builtin://ode/izhikevich", jit=False)
    sim.run(T=50.0)
    spikes = sim.results().event("spike")
    text = checked(spikes)
    assert text.count("<tr>") == 1 + len(spikes)
    assert text.count("<th") == 3  # t, step and v, each once
    assert f"{spikes['v'][0]:.6g}" in text


def test_an_ensemble_shows_what_came_of_it() -> None:
    given = {"r": np.linspace(2.5, 3.0, 7)}
    text = checked(dynlib.ensemble("builtin://map/logistic", params=given, N=10, jit=False))
    for part in ("ensemble of 7 members", "7 of 7", "in lanes", "2.5 … 3", "<polyline"):
        assert part in text
    grid = dynlib.ensemble("builtin://map/logistic", params={"r": np.full((2, 3), 2.0)}, N=10, jit=False)
    assert "2 × 3" in checked(grid)
    assert "<polyline" not in checked(grid)


def test_a_stepper_shows_what_it_is() -> None:
    for name in dynlib.list_steppers():
        spec = dynlib.get_stepper(name)
        assert markup.escaped(spec.description) in checked(spec)
        assert name in repr(spec)


def test_in_plain_text_everything_fits_a_screen() -> None:
    sim = dynlib.setup("builtin://ode/izhikevich", jit=False)
    outcome = sim.run(T=50.0)
    snapshot = sim.create_snapshot("here")
    exponents = dynlib.lyapunov_exponents("builtin://map/henon", N=50, exponents=2, jit=False)
    members = dynlib.ensemble("builtin://map/logistic", params={"r": [2.0] * 99}, N=9, statistics=True, jit=False)
    for shown in (
        *(sim, outcome, snapshot, sim.state, sim.results(), sim.raw_results(), sim.presets, sim.full_model, sim.tree()),
        *(sim.lineage(), sim.diff("initial"), sim.replay(), exponents, members, members.statistics),
        *(dynlib.get_stepper("rk45"), sim.results().event("spike"), sim.full_model.model),
    ):
        assert len(repr(shown)) < 1000, type(shown)


def test_exponents_show_how_they_settled() -> None:
    text = checked(dynlib.lyapunov_exponents("builtin://map/henon", N=500, exponents=2, jit=False))
    assert r"$\lambda_{1}$" in text
    assert text.count("<polyline") == 2


@pytest.mark.parametrize("text", ["$x$", "\\(x\\)"])
def test_mathjax_leaves_text_alone(text: str) -> None:
    assert "mathjax_ignore" in markup.markup(text)
    assert "mathjax_ignore" not in markup.markup("plain")
