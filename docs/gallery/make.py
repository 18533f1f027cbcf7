"""The gallery of models: one picture of each, and the page that shows them beside their sources.

`python docs/gallery/make.py` draws everything anew; `python docs/gallery/make.py lorenz henon` draws some.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from PIL import Image

import dynlib
from dynlib.plot import time_series

HERE = Path(__file__).parent
SECTIONS = {"ode": "Differential equations", "map": "Maps"}
COLORS = ["#1f4e79", "#c0504d", "#4f8f4f", "#8064a2", "#b8860b", "#555555", "#2f9e9e", "#d2691e"]

Draw = Callable[[str, Axes, float], None]
"""Draws a model at a location on Axes; the last number makes runs shorter (1: as in the gallery)."""


@dataclass(frozen=True)
class Picture:
    """How a model is drawn, and what the picture shows."""

    draw: Draw
    caption: str


def over_time(
    *names: str, T: float, xlog: bool = False, ylog: bool = False, unit: str = "", label: str = "", **setup: Any
) -> Draw:
    """Quantities over time; on a logarithmic axis from the end of the first step."""

    def draw(location: str, ax: Axes, part: float) -> None:
        sim = dynlib.setup(location, **setup)
        sim.run(T=T * part)
        res = sim.results()
        for name, color in zip(names, COLORS):
            time_series(res, name, ax=ax, color=color, lw=1.2)
        ax.set_ylabel(label or ", ".join(names))
        ax.set_xlabel(f"t{f' [{unit}]' if unit else ''}")
        if len(names) > 1:
            ax.legend(fontsize=8, loc="best")
        if xlog:
            ax.set_xscale("log")
            ax.set_xlim(res.t[res.t > 0][0], res.t[-1])
        if ylog:
            ax.set_yscale("log")

    return draw


def plane(
    x: str,
    y: str,
    *,
    T: float,
    starts: Sequence[dict[str, float]] = ({},),
    transient: float = 0.0,
    equal: bool = False,
    lw: float = 1.1,
    marks: Sequence[tuple[float, float, str]] = (),
    record_dt: float | None = None,
    xlim: tuple[float, float] | None = None,
    **setup: Any,
) -> Draw:
    """Orbits in the plane of two states."""

    def draw(location: str, ax: Axes, part: float) -> None:
        sim = dynlib.setup(location, **setup)
        colors = COLORS if len(starts) < 4 else ["#1f4e79"] * len(starts)
        for start, color in zip(starts, colors):
            sim.run(T=T * part, ic=start, transient=transient * part, record_dt=record_dt)
            res = sim.results()
            ax.plot(res[x], res[y], color=color, lw=lw)
        for mx, my, name in marks:
            ax.plot(mx, my, "o", color="#333333", ms=6)
            ax.annotate(name, (mx, my), (6, 6), textcoords="offset points", fontsize=8)
        if xlim is not None:
            ax.set_xlim(*xlim)
        label(ax, x, y, equal)

    return draw


def dots(
    x: str,
    y: str,
    *,
    N: int,
    starts: Sequence[dict[str, float]] = ({},),
    equal: bool = False,
    size: float = 0.4,
    colored: bool = False,
) -> Draw:
    """The iterates of a map."""

    def draw(location: str, ax: Axes, part: float) -> None:
        sim = dynlib.setup(location)
        for k, start in enumerate(starts):
            sim.run(N=int(N * part), ic=start, transient=20 * part)
            res = sim.results()
            ax.plot(res[x], res[y], ".", ms=size, mew=0, color=COLORS[k % len(COLORS)] if colored else "#1f4e79")
        label(ax, x, y, equal)

    return draw


def section(x: str, y: str, *, period: float, periods: int, **setup: Any) -> Draw:
    """One dot per period of a drive."""

    def draw(location: str, ax: Axes, part: float) -> None:
        sim = dynlib.setup(location, **setup)
        sim.run(T=periods * period * part, record_dt=period, transient=20 * period * part)
        res = sim.results()
        ax.plot(res[x], res[y], ".", ms=1.0, mew=0, color="#1f4e79")
        label(ax, x, y, False)

    return draw


def crossings(x: str, y: str, *, event: str, T: float, starts: Sequence[dict[str, float]], **setup: Any) -> Draw:
    """Where orbits cross a surface, noted by an event that is added to the model."""

    def draw(location: str, ax: Axes, part: float) -> None:
        mod = f'inline:[mod.add.events.crossing]\n{event}\nlog = ["{x}", "{y}"]'
        sim = dynlib.setup(location, mods=[mod], **setup)
        for k, start in enumerate(starts):
            sim.run(T=T * part, ic=start, record_interval=10**9)  # the log alone
            log = sim.results().event("crossing")
            ax.plot(log[x], log[y], ".", ms=1.6, mew=0, color=COLORS[k % len(COLORS)])
        label(ax, x, y, False)

    return draw


def diagram(param: str, first: float, last: float, *, values: int = 700) -> Draw:
    """Where the iterates of a map come to lie, over a parameter."""

    def draw(location: str, ax: Axes, part: float) -> None:
        sim = dynlib.setup(location)
        grid = np.linspace(first, last, max(2, int(values * part)))
        for value in grid:
            sim.run(N=600, params={param: value}, transient=500)
            res = sim.results()
            ax.plot(np.full(len(res), value), res["x"], ".", ms=0.5, mew=0, color="#1f4e79")
        ax.set_xlim(first, last)
        label(ax, param, "x", False)

    return draw


def presets(names: Sequence[str], *, T: float) -> Draw:
    """The potential of a neuron under several presets, one above the other."""

    def draw(location: str, ax: Axes, part: float) -> None:
        sim = dynlib.setup(location)
        for k, (name, color) in enumerate(zip(names, COLORS)):
            sim.run(T=T * part, params=dict(sim.presets.values(name)))
            res = sim.results()
            base = -130.0 * k
            ax.plot(res.t, res["v"] + base, color=color, lw=1.0)
            ax.annotate(name.replace("_", " "), (0.0, base + 34), fontsize=8, color=color)
        ax.set_yticks([])
        ax.set_xlabel("t [ms]")
        ax.set_ylabel("v")
        ax.set_ylim(-130.0 * len(names) + 35, 75)

    return draw


def bodies(count: int, *, T: float, **setup: Any) -> Draw:
    """The paths of many bodies."""

    def draw(location: str, ax: Axes, part: float) -> None:
        sim = dynlib.setup(location, **setup)
        sim.run(T=T * part)
        res = sim.results()
        for k in range(count):
            ax.plot(res["x"][:, k], res["y"][:, k], lw=1.0, color=COLORS[k % len(COLORS)])
            ax.plot(res["x"][-1, k], res["y"][-1, k], "o", ms=4, color=COLORS[k % len(COLORS)])
        label(ax, "x", "y", True)

    return draw


def label(ax: Axes, x: str, y: str, equal: bool) -> None:
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    if equal:
        ax.set_aspect("equal", "datalim")


def on(name: str, *values: float) -> list[dict[str, float]]:
    """Starts that differ in one state."""
    return [{name: value} for value in values]


TORUS = [{"theta": t, "p": p} for t, p in [(3.14, 0.1 + 0.2 * k) for k in range(32)]]
PRESETS = ("regular_spiking", "intrinsic_bursting", "bursting", "fast_spiking")
PICTURES = {
    "ode/arenstorf": Picture(
        plane(
            "x",
            "y",
            T=17.0652165601579625588917206249,
            stepper="dop853",
            rtol=1e-12,
            atol=1e-12,
            record_dt=0.005,
            marks=[(-0.012277471, 0.0, "Earth"), (0.987722529, 0.0, "Moon")],
            equal=True,
        ),
        "One period of the satellite.",
    ),
    "ode/brusselator": Picture(
        plane("x", "y", T=40.0, starts=[{}, {"x": 0.3, "y": 0.5}, {"x": 1.1, "y": 3.0}]),
        "Three starts, one limit cycle.",
    ),
    "ode/duffing": Picture(
        section("x", "v", period=2 * np.pi / 1.2, periods=9000), "One dot per period of the drive: a strange attractor."
    ),
    "ode/exponential_decay": Picture(over_time("x", T=6.0), "The quantity over time."),
    "ode/exponential_if": Picture(
        over_time("v", T=150.0, unit="ms", label="v [mV]"), "Spikes under a constant current."
    ),
    "ode/fitzhugh_nagumo": Picture(
        plane("v", "w", T=200.0, starts=[{}, {"v": 0.5, "w": -1.0}, {"v": 1.0, "w": 1.8}]),
        "Three starts, one limit cycle.",
    ),
    "ode/henon_heiles": Picture(
        crossings(
            "y",
            "v",
            event='cond = "cross_up(x, 0)"\nlocate = true',
            T=12000.0,
            stepper="dop853",
            rtol=1e-9,
            starts=[
                {"y": y, "u": float(np.sqrt(0.25 - y * y + 2 * y**3 / 3))} for y in (-0.25, -0.1, 0.1, 0.2, 0.3, 0.45)
            ],
        ),
        "Crossings of x = 0 with energy 1/8, a colour per orbit: islands of order in a chaotic sea.",
    ),
    "ode/hires": Picture(
        over_time("y1", "y2", "y6", "y8", T=321.8122, xlog=True, ylog=True, label="amount", rtol=1e-6, atol=1e-12),
        "Four of the eight substances, on logarithmic axes.",
    ),
    "ode/hodgkin_huxley": Picture(
        over_time("V", T=60.0, unit="ms", label="V [mV]"), "Spikes under a constant current."
    ),
    "ode/izhikevich": Picture(presets(PRESETS, T=300.0), "Four of the presets."),
    "ode/kepler": Picture(
        plane("x", "y", T=6.3, equal=True, marks=[(0.0, 0.0, "Sun")]), "One period on an ellipse of eccentricity 0.6."
    ),
    "ode/leaky_if": Picture(
        over_time("v", T=100.0, unit="ms", label="v [mV]"), "Charging and resetting under a constant current."
    ),
    "ode/lorenz": Picture(plane("x", "z", T=60.0, transient=10.0, lw=0.6), "The attractor, seen along y."),
    "ode/morris_lecar": Picture(over_time("V", T=400.0, unit="ms", label="V [mV]"), "Spikes under a constant current."),
    "ode/oregonator": Picture(
        over_time("x", "y", "z", T=900.0, ylog=True, label="concentration"),
        "The three substances, on a logarithmic axis.",
    ),
    "ode/outer_solar_system": Picture(bodies(6, T=200000.0), "200,000 days, in astronomical units, seen along z."),
    "ode/pendulum": Picture(
        plane(
            "theta",
            "omega",
            T=12.0,
            stepper="rk4",
            xlim=(-np.pi, np.pi),
            starts=[
                *on("theta", 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
                {"theta": -3.14, "omega": 0.5},
                {"theta": 3.14, "omega": -0.5},
            ],
        ),
        "Oscillations inside, full turns outside.",
    ),
    "ode/pleiades": Picture(
        bodies(7, T=3.0, stepper="dop853", rtol=1e-10, atol=1e-10), "The paths of the seven stars up to t = 3."
    ),
    "ode/quadratic_if": Picture(over_time("v", T=12.0), "Spikes under a constant current."),
    "ode/robertson": Picture(
        over_time("A", "B", "C", T=1e5, xlog=True, ylog=True, label="amount", rtol=1e-6, atol=1e-12),
        "The three substances, on logarithmic axes.",
    ),
    "ode/rossler": Picture(plane("x", "y", T=250.0, transient=50.0, lw=0.6), "The attractor, seen along z."),
    "ode/van_der_pol": Picture(
        plane("x", "y", T=25.0, starts=[{}, {"x": 0.1, "y": 0.1}, {"x": -3.0, "y": 3.0}]),
        "Three starts, one limit cycle.",
    ),
    "map/henon": Picture(dots("x", "y", N=40000), "The attractor."),
    "map/henon_lagged": Picture(dots("x", "y", N=40000), "The attractor: each value over the one before."),
    "map/ikeda": Picture(dots("x", "y", N=60000, equal=True), "The attractor."),
    "map/logistic": Picture(diagram("r", 2.8, 4.0), "Where the iterates come to lie, over r."),
    "map/lozi": Picture(dots("x", "y", N=40000), "The attractor."),
    "map/sine": Picture(diagram("r", 0.68, 1.0), "Where the iterates come to lie, over r."),
    "map/standard": Picture(dots("theta", "p", N=2500, starts=TORUS, size=0.9, colored=True), "A colour per orbit."),
}


def draw(name: str, part: float = 1.0) -> bytes:
    """The picture of a model as a small PNG."""
    figure = plt.figure(figsize=(4.8, 3.2), layout="constrained")
    ax = figure.add_subplot()
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    PICTURES[name].draw(f"builtin://{name}", ax, part)
    plain, small = BytesIO(), BytesIO()
    figure.savefig(plain, dpi=150)
    plt.close(figure)
    Image.open(plain).convert("RGB").quantize(48).save(small, "png", optimize=True)
    return small.getvalue()


def file_of(name: str) -> Path:
    """Where the picture of a model stands."""
    return HERE / f"{name.replace('/', '-')}.png"


def page() -> str:
    """The text of the page, from the table above and the heads of the model files."""
    lines = [
        "<!-- Written by `python docs/gallery/make.py`. -->",
        "# Gallery of models",
        "",
        "The models that come with the library, each with a picture and its whole source: copy it to a file of your",
        'own to change it. The location of a model, as in `dynlib.setup("builtin://ode/lorenz")`, stands below its',
        "name; `dynlib model list` names all.",
    ]
    for kind, title in SECTIONS.items():
        lines += ["", f"## {title}"]
        for name, picture in PICTURES.items():
            if name.startswith(f"{kind}/"):
                lines += entry(name, picture)
    return "\n".join(lines) + "\n"


def entry(name: str, picture: Picture) -> list[str]:
    source = f"../../src/dynlib/models/{name}.toml"
    model = dynlib.load_model(f"builtin://{name}")
    title = dict(model.meta)["title"]
    first = (HERE / source).read_text("utf-8").splitlines()[0].removeprefix("# ")
    about = first.partition(": ")[2]
    return [
        "",
        f"### {title}",
        "",
        f"{about[0].upper()}{about[1:]} `builtin://{name}`",
        "",
        f"![{title}: {picture.caption}]({file_of(name).name})",
        "",
        f"*{picture.caption}*",
        "",
        "<details><summary>Source</summary>",
        "",
        f"```{{literalinclude}} {source}",
        ":language: toml",
        "```",
        "",
        "</details>",
    ]


def main(only: list[str]) -> None:
    for name in PICTURES:
        if not only or name.rpartition("/")[2] in only:
            print(name, flush=True)
            file_of(name).write_bytes(draw(name))
    (HERE / "index.md").write_text(page(), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
