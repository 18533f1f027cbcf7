"""The explorer over HTTP: who is let in, what is refused, and what is exported."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

import dynlib
from dynlib.explore.script import Origin
from dynlib.explore.server import LONGEST, listening, server
from dynlib.explore.study import Study, thinned
from dynlib.session.lineage import digest_of

TOKEN = "a-token-for-tests"
MODEL = "builtin://ode/van_der_pol"


def served(sim: dynlib.Sim, origin: Origin) -> Iterator[httpx.Client]:
    study = Study(sim, origin)
    with listening(0) as place:
        port = place.getsockname()[1]
        place.listen()
        serving = server(study, port, TOKEN)
        thread = threading.Thread(target=serving.run, kwargs={"sockets": [place]})
        thread.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/{TOKEN}/", trust_env=False) as client:
                yield client
        finally:
            serving.should_exit = True
            study.close()
            thread.join()


@pytest.fixture(name="client")
def _client() -> Iterator[httpx.Client]:
    yield from served(dynlib.setup(MODEL, jit=False), Origin(f"sim = dynlib.setup({MODEL!r}, jit=False)"))


def do(client: httpx.Client, **command: object) -> httpx.Response:
    return client.post("do", json=command)


def frame(client: httpx.Client, wanted: Callable[[dict], bool] = lambda _: True) -> dict:
    with client.stream("GET", "stream") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: ") and wanted(found := json.loads(line.removeprefix("data: "))):
                return found
    raise AssertionError("the stream ended")


def run_to(client: httpx.Client, t: float) -> None:
    assert do(client, what="speed", value=1000).status_code == 200
    assert do(client, what="run", until=t).status_code == 200
    frame(client, lambda each: not each["running"] and each["t"] == t)


# -- who is let in ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "explore.js", "explore.css", "about", "stream", "explored.py", "explored.npz"])
def test_nothing_is_served_without_the_token(client: httpx.Client, path: str) -> None:
    root = str(client.base_url).removesuffix(f"{TOKEN}/")
    for token in ("", "x/", TOKEN[:-1] + "/", TOKEN.upper() + "/", "é/", f"//{TOKEN}/"):
        assert client.get(f"{root}{token}{path}").status_code == 403
    assert client.post(f"{root}do", json={"what": "pause"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": "127.0.0.1"},
        {"host": "127.0.0.1.evil.example:80"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "https://127.0.0.1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_other_hosts_and_pages_are_refused_even_with_the_token(client: httpx.Client, headers: dict[str, str]) -> None:
    assert client.get("about", headers=headers).status_code == 403
    assert client.post("do", json={"what": "pause"}, headers=headers).status_code == 403


def test_the_page_may_load_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("", headers={"origin": f"http://{client.base_url.netloc.decode()}"})
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for name in ("", "explore.js", "explore.css"):
        assert "//" not in client.get(name).text.replace("// ", "").replace("//\n", "")


def test_it_listens_on_this_machine_only() -> None:
    with listening(0) as place:
        assert place.getsockname()[0] == "127.0.0.1"
        place.listen()
        with pytest.raises(dynlib.ConfigError, match="port 0 takes a free one"):
            listening(place.getsockname()[1])
    with pytest.raises(dynlib.ConfigError, match="from 0"):
        listening(70000)


# -- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "one JSON object"),
        (b"\xff\xfe", "one JSON object"),
        (b"[" * 30000, "one JSON object"),
        (b"[]", "one JSON object"),
        (b"{}", "unknown command"),
        (b'{"what": ["run"]}', "unknown command"),
        (b'{"what": "rum"}', "did you mean 'run'"),
        (b'{"what": "pause", "now": 1}', "takes nothing"),
        (b'{"what": "run"}', "takes until"),
        (b'{"what": "run", "until": "soon"}', "finite number"),
        (b'{"what": "run", "until": NaN}', "finite number"),
        (b'{"what": "run", "until": -1}', "not ahead"),
        (b'{"what": "speed", "value": 0}', "positive"),
        (b'{"what": "speed", "value": 1e999}', "finite number"),
        (b'{"what": "set", "values": {"nu": 1}}', "unknown state or parameter 'nu'"),
        (b'{"what": "set", "values": {"mu": "1"}}', "must be a number"),
        (b'{"what": "set", "values": {"mu": NaN}}', "must be finite"),
        (b'{"what": "set", "values": {"mu": 1' + b"0" * 5000 + b"}}", "must be finite"),
        (b'{"what": "set", "values": {"mu": [[1, 2], [3]]}}', "must be a number"),
        (b'{"what": "set", "values": [1]}', "must be a table by name"),
        (b'{"what": "snapshot", "name": ""}', "non-empty"),
        (b'{"what": "snapshot", "name": 3}', "must be a text"),
        (b'{"what": "snapshot", "name": "' + b"a" * 101 + b'"}', "at most 100"),
        (b'{"what": "goto", "name": "nowhere"}', "no snapshot 'nowhere'"),
        (b'{"what": "goto", "name": {}}', "must be a text"),
        (b'{"what": "watch", "names": []}', "1 to 8"),
        (b'{"what": "watch", "names": [{}]}', "unknown variable"),
        (b'{"what": "' + b"a" * LONGEST + b'"}', "at most"),
    ],
)
def test_what_makes_no_sense_is_refused_in_the_words_of_the_library(
    client: httpx.Client, body: bytes, message: str
) -> None:
    before = client.get("explored.npz").status_code, frame(client)
    answer = client.post("do", content=body)
    assert answer.status_code == 400
    assert message in answer.json()["message"]
    after = client.get("explored.npz").status_code, frame(client)
    for key in ("t", "step", "values", "tree", "speed", "watched", "running"):
        assert before[1][key] == after[1][key]


# -- what it does ----------------------------------------------------------------------------------------------------


def test_a_pause_takes_effect_while_an_endless_run_goes_on(client: httpx.Client) -> None:
    do(client, what="run", until=None)
    assert frame(client, lambda each: each["t"] > 0)["running"]
    assert do(client, what="pause").status_code == 200
    stopped = frame(client)
    assert not stopped["running"]
    assert frame(client)["t"] == stopped["t"]


def test_going_elsewhere_keeps_the_present(client: httpx.Client) -> None:
    run_to(client, 2.0)
    do(client, what="snapshot", name="two")
    do(client, what="set", values={"mu": 3.0})
    run_to(client, 4.0)
    do(client, what="branch")
    here = frame(client)
    assert (here["t"], here["here"], here["values"]) == (2.0, "two", {"mu": 1.0})
    assert [(b["name"], b["parent"]) for b in here["tree"]] == [("initial", None), ("two", 0), ("t = 4", 1)]
    assert here["tree"][2]["how"] == ["set mu: 1 → 3"]
    do(client, what="goto", name="t = 4")
    assert frame(client)["values"] == {"mu": 3.0}
    do(client, what="reset")
    assert frame(client)["t"] == 0.0


def digest_in(file: Path) -> str:
    return digest_of(dynlib.open_snapshot(file, jit=False).state)


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (MODEL, {}),
        (MODEL, {"stepper": "rk45"}),
        ("builtin://ode/izhikevich", {}),
        ("builtin://map/logistic", {}),
    ],
)
def test_the_exported_script_leads_to_the_exported_snapshot_to_the_last_bit(
    model: str, given: dict[str, str], tmp_path: Path
) -> None:
    sim = dynlib.setup(model, jit=False, **given)
    name = next(iter(sim.param_dict()))
    code = f"sim = dynlib.setup({model!r}, jit=False, **{given!r})"
    for client in served(sim, Origin(code)):
        do(client, what="set", values={name: sim.param_dict()[name] * 1.01})
        run_to(client, 20.0)
        do(client, what="snapshot", name='a "name"\n\\')
        do(client, what="set", values={name: sim.param_dict()[name] * 0.97})
        do(client, what="run", until=None)
        frame(client, lambda each: each["t"] > 20.5)
        do(client, what="pause")
        do(client, what="branch")
        do(client, what="run", until=None)
        frame(client, lambda each: each["t"] > 30.5)
        do(client, what="pause")
        (tmp_path / "seen.npz").write_bytes(client.get("explored.npz").content)
        script = client.get("explored.py").text.partition("\nif __name__")[0]
    script += "\nsim.export_snapshot('again.npz')\n"
    (tmp_path / "explored.py").write_text(script, "utf-8")
    subprocess.run([sys.executable, "explored.py"], cwd=tmp_path, check=True, timeout=300)
    assert digest_in(tmp_path / "again.npz") == digest_in(tmp_path / "seen.npz")


def test_a_script_may_begin_at_a_snapshot_file(tmp_path: Path) -> None:
    sim = dynlib.setup(MODEL, jit=False)
    sim.run(T=3.3)
    sim.export_snapshot(tmp_path / "begin.npz")
    sim = dynlib.open_snapshot(tmp_path / "begin.npz", jit=False)
    origin = Origin("sim = dynlib.open_snapshot('begin.npz', jit=False)", len(sim.lineage().parts) - 1)
    for client in served(sim, origin):
        run_to(client, 7.7)
        (tmp_path / "seen.npz").write_bytes(client.get("explored.npz").content)
        script = client.get("explored.py").text.partition("\nif __name__")[0]
    (tmp_path / "explored.py").write_text(script + "\nsim.export_snapshot('again.npz')\n", "utf-8")
    subprocess.run([sys.executable, "explored.py"], cwd=tmp_path, check=True, timeout=300)
    assert digest_in(tmp_path / "again.npz") == digest_in(tmp_path / "seen.npz")


def test_a_numerical_failure_stops_the_run_and_is_said() -> None:
    model = 'inline:[model]\ntype = "ode"\n[states]\nx = 1.0\n[equations.rhs]\nx = "x**2"\n[sim]\ndt = 0.01\n'
    sim = dynlib.setup(model, jit=False)
    for client in served(sim, Origin("")):
        do(client, what="run", until=None)
        end = frame(client, lambda each: bool(each["note"]))
        assert not end["running"]
        assert end["note"].startswith("STEP_TOO_SMALL at t = 1: ")


def test_a_full_recording_goes_on_in_an_empty_one_with_the_same_trajectory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dynlib.explore.study.VALUES", 500)
    sim = dynlib.setup(MODEL, jit=False)
    for client in served(sim, Origin("")):
        run_to(client, 20.0)
        assert len(frame(client)["tree"]) > 2
    whole = dynlib.setup(MODEL, jit=False)
    whole.run(T=20.0)
    assert digest_of(sim.state) == digest_of(whole.state)


def test_thinning_keeps_the_extremes_and_the_order() -> None:
    import numpy as np

    t = np.linspace(0.0, 1.0, 10001)
    spike = np.where(np.arange(10001) == 5003, 9.0, np.sin(t))
    kept = thinned(np.column_stack([t, spike]), 200)
    assert len(kept) <= 300
    assert kept[:, 1].max() == 9.0
    assert (np.diff(kept[:, 0]) > 0).all()
    assert kept[0, 0] == 0.0
    assert kept[-1, 0] == 1.0


def test_the_command_prints_its_address_and_ctrl_c_ends_it() -> None:
    import signal

    command = [sys.executable, "-m", "dynlib.cli.main", "explore", MODEL, "--no-browser", "--no-jit", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        said = ""
        while "}" not in said:
            said += process.stdout.readline()
        facts = json.loads(said)
        assert list(facts) == ["address", "port"]
        address = facts["address"]
        with httpx.Client(trust_env=False) as client, client.stream("GET", f"{address}stream") as stream:
            assert next(stream.iter_lines()).startswith("data: ")
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=60) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()
