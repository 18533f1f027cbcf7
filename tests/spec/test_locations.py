"""Where models come from, and what is refused on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import numpy as np
import pytest

from dynlib.errors import ModelError
from dynlib.spec.locations import MAX_FILE, builtin_models, load_model, map_model, ode_model, read_document

TEXT = """
[model]
type = "ode"
name = "decay"
[states]
x = 1.0
[params]
a = 2.0
[equations.rhs]
x = "-a*x"
[mods.fast]
set.params.a = 20.0
[mods.drive]
add.params.w = 3.0
add.aux.force = "sin(w*t)"
"""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raises `TimeoutError` in the body when it takes longer."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "decay.toml"
    path.write_text(TEXT, "utf-8")
    return path


# -- the four kinds of location ----------------------------------------------------------------------------------


def test_a_path_as_text_and_as_path(file: Path) -> None:
    model = load_model(file)
    assert model == load_model(str(file))
    assert (model.name, model.source) == ("decay", str(file))


def test_a_path_from_the_home_folder(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(file.parent))
    assert load_model("~/decay.toml") == load_model(file)


def test_inline_text(file: Path) -> None:
    model = load_model("inline:" + TEXT)
    assert model == load_model(file)
    assert model.source == "inline model"


def test_a_builtin_model() -> None:
    assert load_model("builtin://ode/izhikevich").kind == "ode"
    assert load_model("builtin://map/logistic").kind == "map"


def test_a_builtin_model_may_be_named_with_its_ending() -> None:
    assert load_model("builtin://ode/izhikevich.toml") == load_model("builtin://ode/izhikevich")


def test_every_listed_builtin_model_loads_under_its_name() -> None:
    names = builtin_models()
    assert {"builtin://ode/izhikevich", "builtin://map/logistic"} <= set(names)
    assert names == sorted(set(names))
    for name in names:
        assert load_model(name).kind == name.removeprefix("builtin://").split("/")[0]


def test_a_model_passes_through(file: Path) -> None:
    model = load_model(file)
    assert load_model(model) is model


def test_a_model_takes_no_mods(file: Path) -> None:
    with pytest.raises(ModelError, match="mods apply to model files"):
        load_model(load_model(file), mods=["fast"])


def test_the_place_of_an_error_in_a_file_is_the_path_given(file: Path) -> None:
    file.write_text(TEXT.replace("-a*x", "-aa*x"), "utf-8")
    with pytest.raises(ModelError) as caught:
        load_model(file)
    assert str(caught.value).startswith(f"{file} [equations.rhs] x: unknown name 'aa'; did you mean 'a'?")


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../x",
        "../../errors",
        "ode/../../errors",
        "ode/../ode/izhikevich",
        "/etc/passwd",
        "//etc/passwd",
        "ode//izhikevich",
        "ode\\izhikevich",
        "ode/izhikevich/",
        "ode/./izhikevich",
        "%2e%2e/x",
        "ode/izhikevich\n",
        "ode/izhikevich\0",
        "ODE/Izhikevich",
        "",
        "..",
        ".",
    ],
)
def test_only_plain_names_of_builtin_models_are_looked_up(name: str) -> None:
    with pytest.raises(ModelError, match="is not the name of a built-in model"):
        load_model(f"builtin://{name}")


@pytest.mark.parametrize("name", ["ode/izhikevitch", "map/izhikevich", "izhikevich"])
def test_an_absent_builtin_model_gets_a_suggestion(name: str) -> None:
    with pytest.raises(ModelError, match="no such built-in model; did you mean 'builtin://ode/izhikevich'"):
        load_model(f"builtin://{name}")


def test_an_absent_file_gets_a_suggestion(file: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(file.with_name("decai.toml"))
    assert f"no such model file; did you mean {str(file)!r}" in str(caught.value)


def test_an_absent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no such model file$"):
        load_model(tmp_path / "nowhere" / "decay.toml")


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a folder"):
        load_model(tmp_path)


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "binary.toml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(ModelError, match="cannot be read as text"):
        load_model(path)


def test_a_file_with_zero_bytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "zeros.toml"
    path.write_bytes(b"\0" * 100)
    with pytest.raises(ModelError, match="not valid TOML"):
        load_model(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "huge.toml"
    with path.open("wb") as stream:
        stream.truncate(MAX_FILE + 1)
    monkeypatch.setattr(Path, "read_text", lambda *_args: pytest.fail("the file was read"))
    with pytest.raises(ModelError, match="file larger than 16 MiB"):
        load_model(path)


def test_huge_inline_text_is_refused() -> None:
    with pytest.raises(ModelError, match="text larger than 16 MiB"):
        load_model("inline:" + "#" * (MAX_FILE + 1))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe.toml"
    os.mkfifo(path)
    with at_most(2.0), pytest.raises(ModelError, match="file"):
        load_model(path)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "http://host/model.toml",
        "file:///etc/passwd",
        "a\nb",
        "\0",
        "a\0b.toml",
        "~nobody-of-that-name/x.toml",
        "x" * 5000,
    ],
)
def test_other_locations_are_refused(location: str) -> None:
    with pytest.raises(ModelError):
        load_model(location)


def test_a_long_location_gives_a_short_message() -> None:
    with pytest.raises(ModelError) as caught:
        load_model("[model]\n" + "x = 1\n" * 10_000)
    assert "expected a path to a .toml file, 'builtin://…' or 'inline:…'" in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "text",
    ["[model", "x = ", "a = 1\na = 2", "x = [" + "[" * 5000, "x = " + "1" * 5000, "\ufeff\ufeff[model]"],
    ids=["bracket", "value", "twice", "deep", "long number", "marks"],
)
def test_text_that_is_not_toml_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match="inline model: not valid TOML"):
        load_model("inline:" + text)


@pytest.mark.parametrize("value", ["sum(i for i in range(30000000))", "prod(1 + 0*i for i in range(30000000))"])
def test_a_value_that_takes_long_to_compute_is_refused(value: str) -> None:
    with at_most(1.0), pytest.raises(ModelError, match=r"inline model \[params\] a"):
        load_model("inline:" + TEXT.replace("2.0", f'"{value}"'))


# -- mods --------------------------------------------------------------------------------------------------------


def test_a_mod_by_the_location(file: Path) -> None:
    model = load_model(f"{file}#mod=fast")
    assert model.params[0].values == (20.0,)
    assert model == load_model(file, mods=["fast"])


def test_several_mods_by_the_location(file: Path) -> None:
    model = load_model(f"{file}#mod=fast,drive")
    assert [q.name for q in model.params] == ["a", "w"]
    assert model == load_model(f"{file}#mod=fast", mods=["drive"])


def test_a_mod_of_another_file(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "mods.toml"
    other.write_text("[mods.slow.set.params]\na = 0.5\n[mods.x]\n", "utf-8")
    assert load_model(file, mods=[f"{other}#mod=slow"]).params[0].values == (0.5,)


def test_a_file_with_one_mod_needs_no_name(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "mod.toml"
    other.write_text("[mod]\nname = 'slow'\n[mod.set.params]\na = 0.5\n", "utf-8")
    assert load_model(file, mods=[str(other)]).params[0].values == (0.5,)


def test_a_file_with_two_mods_needs_a_name(file: Path) -> None:
    with pytest.raises(ModelError, match="holds 2 mods; name one with #mod=…"):
        load_model(file, mods=[str(file)])


def test_an_inline_mod(file: Path) -> None:
    assert load_model(file, mods=["inline:[mod.set.params]\na = 0.5"]).params[0].values == (0.5,)


def test_a_mod_of_inline_text() -> None:
    assert load_model("inline:" + TEXT, mods=["fast"]).params[0].values == (20.0,)


def test_a_mod_of_a_builtin_by_an_inline_text() -> None:
    plain = load_model("builtin://map/logistic")
    name = plain.params[0].name
    model = load_model("builtin://map/logistic", mods=[f"inline:[mod.set.params]\n{name} = 1.25"])
    assert model.params[0].values == (1.25,) != plain.params[0].values
    assert model.structure_hash == plain.structure_hash


def test_an_unknown_mod_gets_a_suggestion(file: Path) -> None:
    with pytest.raises(ModelError) as caught:
        load_model(f"{file}#mod=fats")
    assert str(caught.value) == f"{file} [mods]: no mod 'fats'; did you mean 'fast'?"


def test_an_unknown_mod_of_a_file_without_mods() -> None:
    with pytest.raises(ModelError, match="no mod 'fast'; there are none"):
        load_model("builtin://map/logistic#mod=fast")


def test_unused_mods_change_nothing(file: Path) -> None:
    assert load_model(file) == load_model("inline:" + TEXT.split("[mods.fast]")[0])


def test_read_document_gives_the_tables_as_they_stand(file: Path) -> None:
    document, source = read_document(str(file))
    assert source == str(file)
    assert document["mods"]["fast"] == {"set": {"params": {"a": 20.0}}}


# -- models from Python ------------------------------------------------------------------------------------------


def test_a_model_from_python_equals_that_from_a_file(file: Path) -> None:
    model = ode_model("decay", states={"x": 1.0}, params={"a": 2.0}, equations={"x": "-a*x"})
    assert model == load_model(file)
    assert model.source != load_model(file).source
    assert hash(model) == hash(load_model(file))


def test_a_map_from_python() -> None:
    text = '[model]\ntype="map"\nname="m"\n[states]\nx=0.5\n[params]\nr=4\n[equations]\nexpr="x = r*x*(1-x)"'
    assert map_model("m", states={"x": 0.5}, params={"r": 4}, equations="x = r*x*(1-x)") == load_model("inline:" + text)


def test_values_may_come_from_numpy() -> None:
    plain = ode_model("m", states={"u[3]": [0.0, 1.0, 2.0]}, params={"a": 2.0}, equations={"u[i]": "-a*u[i]"})
    arrays = ode_model("m", states={"u[3]": np.arange(3.0)}, params={"a": np.float64(2)}, equations={"u[i]": "-a*u[i]"})
    assert arrays == plain
    assert all(type(v) is float for q in (*arrays.states, *arrays.params) for v in q.values)


def test_a_map_from_python_with_inverse_and_jacobian() -> None:
    model = map_model(
        "m",
        states={"x": 1.0},
        equations={"x": "2*x"},
        inverse={"x": "x/2"},
        jacobian={"expr": [["2"]]},
        dtype="float32",
    )
    assert (len(model.inverse), len(model.jacobian), model.dtype) == (1, 1, "float32")


def test_an_unknown_table_from_python_gets_a_suggestion() -> None:
    with pytest.raises(ModelError, match="model 'm': unknown table 'event'; did you mean 'events'"):
        ode_model("m", states={"x": 1.0}, equations={"x": "1"}, event={})
