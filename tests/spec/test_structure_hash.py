"""The structure hash: equal for equal systems, whatever their formatting, their values or their defaults."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from dynlib.spec.document import model_from_document
from dynlib.spec.locations import load_model, ode_model
from dynlib.spec.model import Model

Change = Callable[[dict[str, Any]], object]

TEXT = """
[model]
type = "ode"
name = "system"
[constants]
N = 4
k = 3
[states]
x = 1.0
y = 0.0
"u[N]" = 0.5
[params]
a = 2.0
b = 1.0
[equations.rhs]
x = "-a*x + p"
y = "k*f(x, y) - b"
"u[i]" = "u[(i+1) % N] - u[i]"
[aux]
p = "x*y"
q = "p + 1"
[functions.f]
args = ["z", "w"]
expr = "z**2 + w"
[functions.g]
args = []
expr = "1"
[events.reset]
cond = "x > b"
phase = "post"
action = "x = a; y += 1"
log = ["t"]
tags = ["spike"]
[presets.one.params]
a = 5.0
[sim]
dt = 0.1
t_end = 10.0
stop = "x > 100"
"""


def document() -> dict[str, Any]:
    import tomllib

    return tomllib.loads(TEXT)


def changed(change: Change) -> Model:
    result = copy.deepcopy(document())
    change(result)
    return model_from_document(result)


def plain() -> Model:
    return load_model("inline:" + TEXT)


def test_the_hash_is_a_digest_in_hexadecimal() -> None:
    assert len(plain().structure_hash) == 64
    assert set(plain().structure_hash) <= set("0123456789abcdef")


def test_the_hash_does_not_depend_on_the_process() -> None:
    model = ode_model("decay", states={"x": 1.0}, params={"a": 2.0}, equations={"x": "-a*x"})
    assert model.structure["equations"] == ["x = ((- a) * x)"]
    assert (
        model.structure_hash
        == ode_model("z", states={"x": 0}, params={"a": 0}, equations="dx = (-a) * x").structure_hash
    )


_same: dict[str, Change] = {
    "spaces": lambda d: d["equations"]["rhs"].update(x="  - a *x+  p "),
    "brackets": lambda d: d["equations"]["rhs"].update(x="(((-a)*x) + (p))"),
    "number spelling": lambda d: d["aux"].update(q="p + 1.0e0"),
    "caret": lambda d: d["functions"]["f"].update(expr="z^2 + w"),
    "line ends": lambda d: d["equations"]["rhs"].update(x="-a*x\n + p"),
    "order of equations": lambda d: d["equations"].update(rhs=dict(reversed(d["equations"]["rhs"].items()))),
    "block for table": lambda d: d.update(
        equations={"expr": "du[i] = u[(i+1) % N] - u[i]  # flow\ndy = k*f(x, y) - b\ndx/dt = -a*x + p"}
    ),
    "full range": lambda d: d["equations"].update(
        rhs={"u[i]": "u[(i+1) % N] - u[i] for i in range(0, N)", "x": "-a*x + p", "y": "k*f(x, y) - b"}
    ),
    "order of aux": lambda d: d.update(aux=dict(reversed(d["aux"].items()))),
    "order of functions": lambda d: d.update(functions=dict(reversed(d["functions"].items()))),
    "parameter value": lambda d: d["params"].update(a=-7.5),
    "initial value": lambda d: d["states"].update(x=-7.5),
    "initial array": lambda d: d["states"].update({"u[N]": [1, 2, 3, 4]}),
    "name": lambda d: d["model"].update(name="other"),
    "title": lambda d: d["model"].update(title="Other", description="Long text"),
    "meta": lambda d: d.update(meta={"author": "someone"}),
    "sim": lambda d: d.update(sim={"dt": 0.5, "stepper": "rk4", "rtol": 1e-3}),
    "no sim": lambda d: d.pop("sim"),
    "presets": lambda d: d["presets"].update(two={"params": {"a": 1.0}}),
    "no presets": lambda d: d.pop("presets"),
    "constant written out": lambda d: d["equations"]["rhs"].update(y="3*f(x, y) - b"),
    "name of a constant": lambda d: (
        d["constants"].update(m=d["constants"].pop("k")),
        d["equations"]["rhs"].update(y="m*f(x, y) - b"),
    ),
    "unused constant": lambda d: d["constants"].update(unused=1.0),
    "unused mod": lambda d: d.update(mods={"m": {"set": {"params": {"a": 1.0}}}}),
    "size written out": lambda d: d["states"].update({"u[4]": d["states"].pop("u[N]")}),
    "phase synonym": lambda d: d["events"]["reset"].update(phase="end"),
    "action as table": lambda d: d["events"]["reset"].update(action={"x": "a", "y": "y + 1"}),
    "action formatting": lambda d: d["events"]["reset"].update(action="x = a # reset\n\ny = y+1"),
}


@pytest.mark.parametrize("change", _same.values(), ids=_same.keys())
def test_what_is_not_structure_keeps_the_hash(change: Change) -> None:
    assert changed(change).structure_hash == plain().structure_hash


_other: dict[str, Change] = {
    "kind": lambda d: d["model"].update(type="map"),
    "equation": lambda d: d["equations"]["rhs"].update(x="-a*x - p"),
    "order of operands": lambda d: d["equations"]["rhs"].update(x="p + -a*x"),
    "number in an equation": lambda d: d["functions"]["f"].update(expr="z**3 + w"),
    "constant used in an equation": lambda d: d["constants"].update(k=4),
    "element equation": lambda d: d["equations"]["rhs"].update({"u[i]": "u[(i+2) % N] - u[i]"}),
    "array size": lambda d: d["constants"].update(N=5),
    "scalar instead of array": lambda d: (
        d["states"].update({"v[1]": 0.0}),
        d["equations"]["rhs"].update({"v[0]": "1"}),
    ),
    "name of a state": lambda d: (
        d["states"].update(v=d["states"].pop("y")),
        d.update(equations={"expr": "du[i] = u[(i+1) % N] - u[i]\nv = k*f(x, v) - b\nx = -a*x + p"}),
        d["aux"].update(p="x*v"),
        d["events"]["reset"].update(action="x = a; v += 1"),
    ),
    "order of states": lambda d: d.update(states=dict(reversed(d["states"].items()))),
    "name of a parameter": lambda d: (
        d.update(params={"a": 2.0, "c": 1.0}),
        d["equations"]["rhs"].update(y="k*f(x, y) - c"),
        d["events"]["reset"].update(cond="x > c"),
    ),
    "order of parameters": lambda d: d.update(params=dict(reversed(d["params"].items()))),
    "one more parameter": lambda d: d["params"].update(c=1.0),
    "aux": lambda d: d["aux"].update(q="p + 2"),
    "one more aux": lambda d: d["aux"].update(r="1"),
    "function": lambda d: d["functions"]["f"].update(expr="z**2 - w"),
    "arguments of a function": lambda d: d["functions"]["f"].update(args=["w", "z"]),
    "no function": lambda d: d["functions"].pop("g"),
    "condition": lambda d: d["events"]["reset"].update(cond="x >= b"),
    "phase": lambda d: d["events"]["reset"].update(phase="pre"),
    "both phases": lambda d: d["events"]["reset"].update(phase="both"),
    "action": lambda d: d["events"]["reset"].update(action="x = a; y += 2"),
    "order of actions": lambda d: d["events"]["reset"].update(action="y += 1; x = a"),
    "no action": lambda d: d["events"]["reset"].pop("action"),
    "log": lambda d: d["events"]["reset"].update(log=["t", "x"]),
    "name of an event": lambda d: d["events"].update(other=d["events"].pop("reset")),
    "no event": lambda d: d.pop("events"),
    "one more event": lambda d: d["events"].update(other={"cond": "x > 1"}),
    "jacobian": lambda d: d["equations"].update(jacobian={"expr": [["0"] * 6] * 6}),
}


@pytest.mark.parametrize("change", _other.values(), ids=_other.keys())
def test_what_is_structure_changes_the_hash(change: Change) -> None:
    assert changed(change).structure_hash != plain().structure_hash


def test_all_those_changes_give_different_hashes() -> None:
    hashes = [changed(change).structure_hash for change in _other.values()]
    assert len(set(hashes)) == len(hashes)


def test_comments_in_a_file_keep_the_model() -> None:
    assert load_model("inline:" + TEXT.replace("\n", "  # remark\n")) == plain()


def test_an_inverse_changes_the_hash() -> None:
    tables: dict[str, Any] = {"model": {"type": "map"}, "states": {"x": 1.0}}
    one = model_from_document(tables | {"equations": {"rhs": {"x": "2*x"}}})
    two = model_from_document(tables | {"equations": {"rhs": {"x": "2*x"}, "inverse": {"x": "x/2"}}})
    assert one.structure_hash != two.structure_hash


def test_scalar_and_array_of_one_differ() -> None:
    tables: dict[str, Any] = {"model": {"type": "ode"}, "equations": {"rhs": {"x": "1"}}, "states": {"x": 0.0}}
    one = model_from_document(tables | {"params": {"a": 0.0}})
    assert one.structure_hash != model_from_document(tables | {"params": {"a[1]": 0.0}}).structure_hash


def test_equal_models_from_a_file_and_from_python() -> None:
    model = ode_model(
        "system",
        constants={"N": 4, "k": 3},
        states={"x": 1.0, "y": 0.0, "u[N]": 0.5},
        params={"a": 2.0, "b": 1.0},
        equations="dx = p - -(-a*x)\ndy = k*f(x, y) - b\ndu[i] = u[(i+1) % N] - u[i]".replace(
            "p - -(-a*x)", "-a*x + p"
        ),
        aux={"p": "x*y", "q": "p + 1"},
        functions={"f": {"args": ("z", "w"), "expr": "z**2 + w"}, "g": {"args": (), "expr": 1}},
        events={"reset": {"cond": "x > b", "action": "x = a; y = y + 1", "log": ["t"], "tags": ("spike",)}},
        presets={"one": {"params": {"a": 5}}},
        sim={"dt": 0.1, "t_end": 10, "stop": "x > 100"},
    )
    assert model == plain()
    assert model.structure_hash == plain().structure_hash
    assert model.source != plain().source


@pytest.mark.parametrize(
    "key", ["spaces", "block for table", "constant written out", "action as table", "phase synonym", "full range"]
)
def test_equal_systems_are_equal_models(key: str) -> None:
    assert changed(_same[key]) == plain()


@pytest.mark.parametrize("key", ["parameter value", "initial value", "name", "sim", "presets", "meta"])
def test_models_that_differ_in_values_are_not_equal(key: str) -> None:
    assert changed(_same[key]) != plain()


@pytest.mark.parametrize("key", _other)
def test_models_that_differ_in_structure_are_not_equal(key: str) -> None:
    assert changed(_other[key]) != plain()


def test_the_representation_names_states_and_hash() -> None:
    assert repr(plain()) == f"<Model 'system': ode of x, y, u[4]; structure {plain().structure_hash[:12]}>"
