"""Models from an enemy: each is a model that runs, or one `ModelError`, at once; each was a defect once."""

from __future__ import annotations

import math
import re
import time
from keyword import kwlist
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dynlib import (
    ConfigError,
    ExpressionError,
    Model,
    ModelError,
    Observer,
    Sim,
    build,
    get_stepper,
    list_steppers,
    load_model,
    ode_model,
    with_tangent,
)
from dynlib.compile.elementary import NAMES
from dynlib.compile.writer import ARRAY_NAMES, KERNEL_NAMES, code_names
from dynlib.errors import NumericsWarning, suggest
from dynlib.spec.derivative import jacobian_of
from dynlib.spec.document import model_from_document
from dynlib.spec.expressions import canonical, parse, spell
from dynlib.spec.observer import bind
from dynlib.spec.resolve import Terms, evaluate
from dynlib.spec.source import document_of
from dynlib.spec.work import step_work

HUGE = "0x" + "F" * 6000
"""A whole number that Python refuses to print in decimal digits."""


def map_of(rhs: str = "x", **tables: Any) -> dict[str, Any]:
    """A map of one state."""
    document: dict[str, Any] = {
        "model": {"type": "map"},
        "states": {"x": 2.0},
        "params": {"a": 3.0},
        "equations": {"rhs": {"x": rhs}},
    }
    return document | tables


def after(document: dict[str, Any], n: int = 1, **options: Any) -> dict[str, Any]:
    """The state after some steps of interpreted code."""
    sim = Sim(build(model_from_document(document, "m.toml"), jit=False, **options))
    sim.run(N=n)
    return sim.state_dict()


def refusal(document: dict[str, Any]) -> str:
    """The message with which a document is refused, which must not take long."""
    began = time.process_time()
    with pytest.raises(ModelError) as caught:
        model_from_document(document, "m.toml")
    assert time.process_time() - began < 10.0
    assert str(caught.value).startswith("m.toml")
    return str(caught.value)


# -- values and tables that ordinary code trips over -----------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["meta={{n={}}}", "model={{type={}}}", "mod={{name={}}}", "states={{x=[{}]}}", "{}=1"]
)
def test_a_whole_number_with_thousands_of_digits_is_refused(place: str) -> None:
    """It has no decimal spelling, so that it could not even be named in a message."""
    with pytest.raises(ModelError, match="thousands of digits|unknown table"):
        load_model("inline:" + place.format(HUGE), ("mod",) if "mod=" in place else ())


def test_deep_tables_are_refused() -> None:
    nested: Any = "x"
    for _ in range(900):
        nested = {"a": nested}
    assert "nested deeper than 16 levels" in refusal(map_of(meta=nested))
    with pytest.raises(ModelError, match="nested deeper than 16 levels"):
        load_model("inline:meta={a=" + "[" * 200 + "]" * 200 + "}")
    with pytest.raises(ModelError, match="nested too deeply|nested deeper"):
        load_model("inline:meta=" + "{a=" * 5000 + "1" + "}" * 5000)


@pytest.mark.parametrize("part", ["a", "'a'", '"a.\\"b"'])
@pytest.mark.parametrize("form", ["{} = 1", "[{}]\nx = 1", "a = {{{} = 1}}", "  {}  =1"])
def test_a_key_of_thousands_of_parts_is_refused_at_once(part: str, form: str) -> None:
    """Reading it would take a time that grows with the square of its parts."""
    began = time.process_time()
    with pytest.raises(ModelError, match="line 2 has a key of more than 20 parts"):
        load_model("inline:\n" + form.format(" . ".join([part] * 20_000)))
    assert time.process_time() - began < 2.0


def test_numbers_and_strings_with_dots_are_no_keys() -> None:
    values = ", ".join(["1.5"] * 100)
    text = f'model={{type="map"}}\nstates={{u=[{values}]}}\nequations={{rhs={{"u[i]"="u[i]*1.0+2.0"}}}}\n# a. b. c. d\n'
    assert load_model("inline:" + text).n_states == 100


@pytest.mark.parametrize("text", ['model={type="map",name="\ud800"}', "'\ud800'=1", "# \ud800\n[states]\nx='\udfff'"])
def test_text_that_is_not_unicode_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="not valid Unicode|at least one state|must be 'ode'"):
        load_model("inline:" + text)


def test_a_key_is_text() -> None:
    assert "a key must be text, not int" in refusal(map_of() | {1: {}})  # type: ignore[dict-item]


@pytest.mark.parametrize("key", ["x" * 101, "x" * 100_000])
def test_long_names_are_refused_in_a_short_message(key: str) -> None:
    for document in (
        map_of(params={key: 1}),
        map_of(key),
        map_of(f"sum(1 for {key} in range(3))"),
        {**map_of(), key: {}},
    ):
        assert len(refusal(document)) < 2000


def test_suggestions_take_no_time() -> None:
    began = time.process_time()
    assert suggest("a" * 10**6, ["a" * 10**6 + "b"])
    assert suggest("stat", [f"state{k}" for k in range(10**6)])
    assert time.process_time() - began < 2.0


def test_the_place_of_an_error_counts_lines_as_the_message_shows_them() -> None:
    """Some characters end a line for Python's `splitlines`, but not for an editor."""
    with pytest.raises(ExpressionError) as caught:
        parse("x +\x0b y $")
    assert (caught.value.line, caught.value.column) == (1, 8)
    shown, pointer = str(caught.value).split("\n")[1:]
    assert shown[len(pointer) - 1] == "$"


def test_a_value_too_large_for_float32_is_refused() -> None:
    for table in ({"states": {"x": 1e39}}, {"states": {"x": [1.0, -1e39]}}, {"params": {"a": "10**39"}}):
        document = map_of(model={"type": "map", "dtype": "float32"}) | table
        assert "is too large for float32" in refusal(document)


# -- expressions that grow -------------------------------------------------------------------------------------


@pytest.mark.parametrize("macro", ["cross_either(x, {})", "enters_interval(x, 0, {})", "cross_up(x, 1 + {})"])
def test_macros_in_macros_are_refused_before_they_fill_the_memory(macro: str) -> None:
    cond = "1"
    for _ in range(50):
        cond = macro.format(cond)
    assert "written out, this has more than 20000 parts" in refusal(map_of(events={"e": {"cond": cond}}))


def test_constants_that_make_a_text_too_long_are_refused() -> None:
    """The model could not be read back from its own document."""
    long = "+".join(["max(" + ",".join("k" * 60) + ")"] * 60)
    document = map_of(long, constants={"k": "1/3"})
    assert "written out, with the values of constants, this is refused" in refusal(document)


def test_what_is_accepted_can_be_written_and_read_again() -> None:
    """Constants and macros bring brackets of their own."""
    for depth in range(40, 60):
        text = "(" * depth + "k**2" + "+ x)" * depth
        document = map_of(text, constants={"k": -1.5}, events={"e": {"cond": f"changed(x) and {text}"}})
        try:
            model = model_from_document(document)
        except ModelError:
            continue
        assert model_from_document(document_of(model)) == model


def test_a_constant_of_minus_zero_is_written_and_read_again() -> None:
    model = model_from_document(map_of("x*k", constants={"k": -0.0}))
    assert model_from_document(document_of(model)).structure_hash == model.structure_hash
    assert canonical(model.equations[0].expr) == "(x * (- 0.0))"


def test_a_function_cannot_take_the_place_of_a_lag() -> None:
    """`lag_x(1)` would mean one thing in an expression and another where a macro is written out."""
    functions = {"lag_x": {"args": ["z"], "expr": "z"}}
    assert "is how past values of the state 'x' are written" in refusal(map_of(functions=functions))
    model_from_document(map_of("lag_y(x)", functions={"lag_y": {"args": ["z"], "expr": "z"}}))


def test_sums_in_sums_have_a_limit() -> None:
    text = "x"
    for k in range(9):
        text = f"sum({text} for i{k} in range(1))"
    assert "more than 8 loops inside one another" in refusal(map_of(text))
    assert after(map_of(text.replace("sum(", "", 1).replace(" for i8 in range(1))", "")))["x"] == 2.0


@pytest.mark.parametrize(
    "rhs", ["sum(x for i in range(10000000000000))", "sum(sum(x*j for j in range(i)) for i in range(1000000))"]
)
def test_a_step_comes_to_an_end(rhs: str) -> None:
    functions = {"f": {"args": ["x"], "expr": rhs}}
    events = {"e": {"cond": rhs}}
    for document in (
        *(map_of(rhs), map_of("r", aux={"r": rhs}), map_of("f(x)", functions=functions)),
        *(map_of(events=events), map_of(sim={"stop": rhs})),
    ):
        assert "one step would take more than 1e+10 operations" in refusal(document)


def test_functions_that_call_functions_many_times_are_refused() -> None:
    functions = {f"f{k}": {"args": ["z"], "expr": "+".join([f"f{k + 1}(z)"] * 5)} for k in range(19)}
    functions["f19"] = {"args": ["z"], "expr": "z"}
    assert "one step would take more than" in refusal(map_of("f0(x)", functions=functions))


def test_the_work_of_a_step_counts_what_is_computed() -> None:
    assert step_work(model_from_document(map_of("x"))) == 1
    assert step_work(model_from_document(map_of("sum(x*i for i in range(10, 20, 3))"))) == 1 + 4 * 3
    functions = {"f": {"args": ["z"], "expr": "z*r"}}
    document = map_of("f(x) + f(1)", functions=functions, aux={"r": "x + 1"})
    assert step_work(model_from_document(document)) == 3 + 5 + 2 * (3 + 3)


def test_an_observer_comes_to_an_end_too() -> None:
    observer = Observer("o", {"m": 0.0}, {"m": "sum(x for i in range(1000000000000))"})
    with pytest.raises(ModelError, match="one step would take more than"):
        bind([observer], model_from_document(map_of()))


@pytest.mark.parametrize("index", ["(3000000000*4000000000)//(3000000000*2000000000)", "9007199254740992 % 3"])
def test_the_numbers_of_an_index_fit_a_machine(index: str) -> None:
    """Compiled code would leave 64 bits, and the array."""
    document = map_of(
        f"u[{index}]", states={"x": 1.0, "u[3]": 1.0}, equations={"rhs": {"x": f"u[{index}]", "u[i]": "u[i]"}}
    )
    assert "stay below 2**53" in refusal(document) or "made of whole numbers" in refusal(document)


def test_a_range_beyond_the_machine_is_refused() -> None:
    bound = "*".join(["10000000000"] * 3)
    assert "stay below 2**53" in refusal(map_of(states={"x[3]": f"i for i in range({bound})"}))
    assert "stay below 2**53" in refusal(map_of(f"sum(1 for i in range({bound}))"))


def test_initial_values_take_no_longer_than_they_may() -> None:
    formula = "+".join("i" * 199) + " for i in range(100000)"
    assert "its loops take more than" in refusal(map_of(states={"x[100000]": formula}))
    assert "its loops take more than" in refusal(
        map_of(states={"x": f"sum({'+'.join('i' * 199)} for i in range(100000))"})
    )


def test_many_names_take_a_time_that_grows_with_their_number() -> None:
    names = [f"c{k}" for k in range(10_000)]
    began = time.process_time()
    model_from_document(map_of(constants=dict.fromkeys(names, 1), aux={f"a{n}": "x" for n in names}))
    assert time.process_time() - began < 20.0


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"params": {f"p{k}": 0 for k in range(100_001)}}, "more than 100000 names"),
        ({"meta": {"a": "x" * 1_000_001}}, "more than 1000000 characters of text"),
        ({"functions": {f"f{k}": {"args": [], "expr": "1"} for k in range(1001)}}, "more than 1000 functions"),
        ({"functions": {"f": {"args": [f"a{k}" for k in range(65)], "expr": "1"}}}, "more than 64 arguments"),
        ({"presets": {f"p{k}": {"states": {"x": 1}} for k in range(1001)}}, "more than 1000 presets"),
        ({"model": {"type": "sde"}, "noise": {"x": ["1"] * 1001}}, "more than 1000 processes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_there_is_a_limit_to_everything(tables: dict[str, Any], message: str) -> None:
    assert message in refusal(map_of(**tables))


def test_a_document_that_grows_too_long_when_it_is_written_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every accepted model can be read back from its own document."""
    monkeypatch.setattr("dynlib.spec.document.MAX_TEXTS", 5000)
    monkeypatch.setattr("dynlib.spec.document.MAX_KEYS", 100)
    aux = {f"r{j}": "+".join("k" * 50) for j in range(10)}
    assert "more than 5000 characters" in refusal(map_of(aux=aux, constants={"k": "1/3"}))
    model = model_from_document(map_of(aux=aux, constants={"k": 2}))
    assert model_from_document(document_of(model)) == model
    assert "more than 100 names" in refusal(map_of(events={f"e{j}": {"cond": "x"} for j in range(45)}))


def test_functions_that_need_many_aux_variables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of every function would compute them all."""
    monkeypatch.setattr("dynlib.spec.work.MAX_NEEDED", 1000)
    aux = {f"s{k}": "x" for k in range(100)} | {"r": "+".join(f"s{k}" for k in range(100))}
    functions = {f"f{k}": {"args": [], "expr": "r"} for k in range(10)}
    assert "[functions.f9]: functions need aux variables too often" in refusal(map_of(aux=aux, functions=functions))
    del functions["f9"]
    model_from_document(map_of(aux=aux, functions=functions))


def test_aux_variables_of_aux_variables_are_computed_once_each() -> None:
    """A diamond of any height is not a tree."""
    aux = {f"r{k}": f"r{k + 1} + r{k + 2}" for k in range(150)} | {"r150": "x", "r151": "x"}
    model = model_from_document(map_of("r0*0 + f()", aux=aux, functions={"f": {"args": [], "expr": "r0*0"}}))
    assert step_work(model) < 2000
    assert build(model, jit=False).kernel.source.count("r100 = ") == 3  # in the step, in the function and in the sample


def test_lags_of_all_states_together_have_a_limit() -> None:
    states = [f"s{k}" for k in range(2100)]
    document = map_of(states=dict.fromkeys(states, 0.0), equations={"rhs": {s: f"lag_{s}(1000)" for s in states}})
    assert "lags of more than 2000000 past values" in refusal(document)


def test_a_jacobian_uses_only_lags_that_are_kept() -> None:
    equations = {"rhs": {"x": "lag_x(2)"}, "jacobian": {"expr": [["lag_x(3)"]]}}
    assert "lag_x(3), which nothing else in the model does" in refusal(map_of(equations=equations))
    equations["jacobian"]["expr"] = [["lag_x(2)"]]  # type: ignore[index]
    model_from_document(map_of(equations=equations))


# -- constants mean what code means ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["ceil(-0.5)", "round(-0.3)", "trunc(-0.7)", "floor(-0.0)", "sign(-0.0)", "-1 % 1", "-0.0 // 0.001", "7.5 // -2",
     "-7.5 % 2", "5e-324 // 2", "(5 - 5e-324) // 3"],
)  # fmt: skip
def test_a_value_computed_while_reading_is_the_value_computed_in_code(text: str) -> None:
    """To the bit, with the sign of zero."""
    node = parse(text)
    sim = Sim(build(model_from_document(map_of(aux={"r": spell(node)})), jit=False))
    sim.run(N=1)
    assert np.float64(evaluate(node, {}, Terms())).tobytes() == sim.results()["r"][0].tobytes()


# -- generated code --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        map_of("1/step(-x)"),
        map_of("x + sum(1/i for i in range(3))"),
        map_of("f(0)", functions={"f": {"args": ["z"], "expr": "1/z"}}),
        map_of("1/f(1)", functions={"f": {"args": ["z"], "expr": "0"}}),
        map_of("1/r", aux={"r": "0 if x > 0 else 1"}),
        map_of("1/sum(x for i in range(3) if i > 5)"),
        map_of("(0 if x > 0 else 1)**-1"),
        map_of("heaviside(-x)**-2"),
        map_of("1/max(-1, relu(-x))"),
        map_of("(1 < 2)/clip(0, 0, 1)"),
        map_of("1/abs(min(0, 1))"),
    ],
    ids=lambda d: d["equations"]["rhs"]["x"],
)
def test_a_division_by_zero_is_infinite_in_interpreted_code_too(document: dict[str, Any]) -> None:
    """Python's own floats raise an exception where numpy's do not."""
    with pytest.warns(NumericsWarning, match="infinite or NaN"):
        after(document)


def test_a_state_may_become_zero_by_a_plain_number() -> None:
    states = {"x": 1.0, "y": 5.0}
    document = map_of(states=states, equations={"rhs": {"x": "0 if x > 5 else 0", "y": "min(1/x, 9)"}})
    assert after(document, 2) == {"x": 0.0, "y": 9.0}
    document = map_of(
        "min(1/x, 7)", events={"e": {"cond": "true", "action": "x = 0"}, "f": {"cond": "1/x > 5", "action": "a = 8"}}
    )
    assert after(document) == {"x": 0.0}


def test_the_horizon_is_a_number_like_any_other_time() -> None:
    """An aux variable that divides by what is left of the time, recorded at the horizon."""
    sim = Sim(
        build(
            ode_model("m", states={"x": 1.0}, equations={"x": "-x"}, aux={"r": "1/(t - 1)"}), jit=False, stepper="rk4"
        )
    )
    sim.run(T=1.0, dt=0.3)
    assert sim.results()["r"][-1] == math.inf


def test_every_identifier_of_the_code_is_known_as_taken() -> None:
    """Otherwise a model that uses it computes something else, silently."""
    common = {"states": {"qq": 1.0, "ww": 1.0}, "params": {"pp": 1.0}, "aux": {"rr": "qq*pp"}}
    common["sim"] = {"stop": "qq > 9"}
    common["functions"] = {"ff": {"args": ["zz"], "expr": "zz + t"}}
    common["events"] = {"ee": {"phase": "both", "cond": "qq > 1", "action": "qq = 0; pp += qq", "log": ["qq"]}}
    own = {"qq", "ww", "pp", "rr", "ff", "zz", "ee", "ii"}
    for kind in ("ode", "map", "sde"):
        for array in (False, True):
            for stepper in list_steppers(kind):
                past = "" if get_stepper(stepper).symplectic else " + lag_qq(2)"
                rhs = {"qq": "ww", "ww": f"ff(rr) + sum((qq + ii)**3 for ii in range(3)){past}"}
                document = {**common, "model": {"type": kind}}
                if array:
                    document["states"] = {**common["states"], "uu[3]": 0.0}
                    rhs["uu[jj]"] = "ww*pp" if get_stepper(stepper).symplectic else "uu[jj]*qq"
                document["equations"] = {"rhs": rhs}
                if kind == "sde":
                    document["noise"] = {"qq": "0.1"}
                model = model_from_document(document)
                for dtype in ("float64", "float32"):
                    document["model"]["dtype"] = dtype
                    source = build(model_from_document(document), stepper=stepper, jit=False).kernel.source
                    code = re.sub(r'""".*?"""|#.*', "", source, flags=re.DOTALL)
                    words = set(re.findall(r"(?<![\w.\"'])[A-Za-z_]\w*", code)) - own - {"uu", "jj"}
                    unknown = {w for w in words if not _is_taken(w, model, array)}
                    assert not unknown, (kind, stepper, array)


WORDS = {*kwlist, "dynlib", "compile", "elementary", "math", "numpy"}


def _is_taken(word: str, model: Model, array: bool) -> bool:
    if word in WORDS | KERNEL_NAMES | NAMES or (array and word in ARRAY_NAMES):
        return True
    if not word[0].isalpha():
        return False
    named = model_from_document({"model": {"type": "map"}, "states": {word: 0.0}, "equations": {"rhs": {word: "1"}}})
    return code_names(named, not array)[word] != word


@pytest.mark.parametrize(
    "word", ["last_t", "record_t0", "record_dt", "acc1_", "q1_", "DONE", "FULL", "STOPPED", "next_t"]
)
@pytest.mark.parametrize("stepper", ["rk4", "rk45"])
def test_a_state_may_have_a_name_of_the_kernel(word: str, stepper: str) -> None:
    found = []
    for name in (word, "plain"):
        model = ode_model(
            "m", states={name: 1.0}, equations={name: f"sin({name})**3 - sum({name}*i for i in range(3))"}
        )
        sim = Sim(build(model, stepper=stepper, dt=0.1, jit=False))
        sim.run(T=1.05, record_dt=0.2)
        found.append((sim.state_vector()[0], sim.results().t.tolist(), sim.results()[name].tolist()))
    assert found[0] == found[1]


def test_a_loop_index_may_be_any_word() -> None:
    for word in ("__debug__", "_", "__class__", "lambda", "np", "F", "float", "last_t", "pi"):
        assert after(map_of(f"sum(x*{word} for {word} in range(3))"))["x"] == 6.0, word


def test_loops_of_noise_and_of_observers_have_names_in_the_code() -> None:
    document = {
        "model": {"type": "sde"},
        "states": {"u[4]": 1.0},
        "equations": {"rhs": {"u[i]": "-u[i]"}},
        "noise": {"u[other]": "0.1*other"},
    }
    observer = Observer("o", {"m": 0.0}, {"m": "m + sum(u[kk] for kk in range(4))"})
    assert after(document, observers=[observer])["u"].shape == (4,)


@pytest.mark.parametrize(
    "outer", ["sign({})", "clip({}, 0, 9)", "relu({})", "abs({})", "approx({}, 1, 2)", "f({})", "({})**4"]
)
def test_calls_in_calls_make_code_of_their_own_length(outer: str) -> None:
    text = "x"
    for _ in range(50):
        text = outer.format(text)
    full = build(model_from_document(map_of(text, functions={"f": {"args": ["z"], "expr": "z"}})), jit=False)
    assert len(full.kernel.source) < 20_000


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("%".join(["x"] * 199), 0.0),
        ("//".join(["x"] + ["1"] * 198), 2.0),
        ("not " * 199 + "x", 0.0),
        ("- " * 199 + "x", -2.0),
        ("+".join(["x"] * 200), 400.0),
    ],
)
def test_long_chains_are_within_the_limits_of_python(text: str, value: float) -> None:
    assert after(map_of(text))["x"] == value


def test_long_lists_in_long_lists_are_within_the_limits_of_python() -> None:
    text = "x"
    for _ in range(20):
        text = f"min({text},{','.join(['x'] * 63)})"
    assert after(map_of(text))["x"] == 2.0
    assert max(map(len, build(model_from_document(map_of(text)), jit=False).kernel.source.splitlines())) < 20_000


# -- derivatives -----------------------------------------------------------------------------------------------


def chain(body: str, length: int, rhs: str = "a0") -> Model:
    aux = {f"a{k}": body.format(f"a{k + 1}") for k in range(length)} | {f"a{length}": "x"}
    return ode_model("m", states={"x": 1.0}, aux=aux, equations={"x": rhs})


@pytest.mark.parametrize(
    ("body", "length"), [("{0}*{0}", 40), ("sin({0} + 1 + 1 + 1)", 190), ("{0}/{0} + {0}**{0}", 15)]
)
def test_a_derivative_that_grows_too_large_is_refused(body: str, length: int) -> None:
    model = chain(body, length)
    began = time.process_time()
    with pytest.raises(ModelError, match="too large"):
        jacobian_of(model)
    assert time.process_time() - began < 10.0
    assert with_tangent(model).n_states == 2, "aux variables have their own derivatives along a vector"


def test_a_large_sparse_system_has_a_jacobian() -> None:
    n = 300
    rhs = {f"s{k}": f"-s{k}*s{(k + 1) % n} + sin(s{k})" for k in range(n)}
    jacobian = jacobian_of(ode_model("m", states=dict.fromkeys(rhs, 0.5), equations=rhs))
    assert [j for j in range(n) if canonical(jacobian[7][j]) != "0.0"] == [7, 8]


def test_functions_of_functions_are_derived_or_refused() -> None:
    functions = {"f": {"args": ["z"], "expr": "z*z"}}
    nested = "x"
    for _ in range(30):
        nested = f"f({nested})"
    with pytest.raises(ModelError, match="too large"):
        jacobian_of(ode_model("m", states={"x": 1.0}, functions=functions, equations={"x": nested}))


# -- observers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [10**400, int(HUGE, 16), -(10**400), float("inf")], ids="abcd")
def test_a_memory_begins_with_a_float(start: float) -> None:
    with pytest.raises(ConfigError, match="begins with a finite number"):
        Observer("o", {"m": start}, {"m": "m"})


# -- mods ------------------------------------------------------------------------------------------------------


def test_all_mods_named_for_another_file_are_applied(tmp_path: Path) -> None:
    """The second one was dropped."""
    (tmp_path / "mods.toml").write_text("[mods.one.set.params]\na = 4\n[mods.two.set.states]\nx = 5\n")
    base = 'inline:model={type="map"}\nstates={x=1}\nparams={a=1}\nequations={expr="x = a"}'
    model = load_model(base, [f"{tmp_path / 'mods.toml'}#mod=one,two"])
    assert [q.values for q in (*model.states, *model.params)] == [(5.0,), (4.0,)]


def test_the_name_of_a_mod_does_not_make_it_exclusive() -> None:
    base = 'inline:model={type="map"}\nstates={x=1}\nequations={expr="x = x"}\n'
    mods = '[mods."a!"]\ngroup = "g"\n[mods.b]\ngroup = "g"\n'
    assert load_model(base + mods, ["a!", "b"]).n_states == 1


def test_a_file_without_an_end_is_read_to_the_limit_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its size may be a lie, as in folders that the system makes up."""
    path = tmp_path / "big.toml"
    path.write_text("# " + "x" * 100)
    monkeypatch.setattr("dynlib.spec.locations.MAX_FILE", 50)
    monkeypatch.setattr(Path, "stat", lambda self, **k: type("S", (), {"st_size": 0, "st_mode": 0o100644})())
    with pytest.raises(ModelError, match="larger than"):
        load_model(str(path))


@pytest.mark.parametrize("stepper", [name for name in list_steppers() if "ode" in get_stepper(name).kinds])
def test_a_model_in_which_nothing_happens_runs_with_every_stepper(stepper: str) -> None:
    """Its Jacobian and its slopes are 0, and code for them is empty."""
    model = ode_model("m", states={"x": 1.0, "p": 2.0}, equations={"x": "0", "p": "0"})
    sim = Sim(build(model, stepper=stepper, dt=0.25, jit=False))
    sim.run(T=1.0)
    assert sim.state_vector().tolist() == [1.0, 2.0]
