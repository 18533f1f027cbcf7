"""A model as a document again: the tables from which `model_from_document` makes an equal model."""

from __future__ import annotations

from typing import Any

from dynlib.spec.expressions import spell
from dynlib.spec.model import Equation, Event, Model, Preset, Quantity


def document_of(model: Model) -> dict[str, Any]:
    """The tables of a model in plain values (text, numbers, lists, dicts), in their shortest spelling."""
    document: dict[str, Any] = {
        "model": {"type": model.kind, "name": model.name, "dtype": model.dtype},
        "constants": dict(model.constants),
        "states": _quantities(model.states),
        "params": _quantities(model.params),
        "equations": {"expr": _block(model, model.equations)},
        "aux": {a.name: spell(a.expr) for a in model.aux},
        "functions": {f.name: {"args": list(f.args), "expr": spell(f.expr)} for f in model.functions},
        "events": {e.name: _event(e) for e in model.events},
        "presets": {p.name: _preset(p) for p in model.presets},
        "sim": _sim(model),
        "meta": dict(model.meta),
    }
    if model.noise:
        document["noise"] = _noise(model)
    if model.inverse:
        document["equations"]["inverse"] = {"expr": _block(model, model.inverse)}
    if model.jacobian:
        document["equations"]["jacobian"] = {"expr": [[spell(cell) for cell in row] for row in model.jacobian]}
    return {name: table for name, table in document.items() if table}


def _quantities(quantities: tuple[Quantity, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for q in quantities:
        if q.size is None:
            found[q.name] = q.values[0]
        else:
            found[f"{q.name}[{q.size}]"] = q.values[0] if len(set(map(repr, q.values))) == 1 else list(q.values)
    return found


def _block(model: Model, equations: tuple[Equation, ...]) -> str:
    lines = []
    for e in equations:
        left = e.target if model.kind == "map" else f"d({e.target})"
        if e.index is not None:
            left += f"[{spell(e.index)}]"
        loop = "" if e.loop is None else f" for {e.loop.var} in range({e.loop.start}, {e.loop.stop}, {e.loop.step})"
        lines.append(f"{left} = {spell(e.expr)}{loop}")
    return "\n".join(lines)


def _noise(model: Model) -> dict[str, Any]:
    first = model.noise[0]
    if model.noise_shared:
        return {e.target: [spell(column[k].expr) for column in model.noise] for k, e in enumerate(first)}
    found = {}
    for e in first:
        key = e.target if e.index is None else f"{e.target}[{spell(e.index)}]"
        loop = "" if e.loop is None else f" for {e.loop.var} in range({e.loop.start}, {e.loop.stop}, {e.loop.step})"
        found[key] = f"{spell(e.expr)}{loop}"
    return found


def _event(event: Event) -> dict[str, Any]:
    actions = [f"{a.target}{'' if a.index is None else f'[{spell(a.index)}]'} = {spell(a.expr)}" for a in event.actions]
    found: dict[str, Any] = {
        "phase": "both" if len(event.phases) == 2 else event.phases[0],
        "cond": spell(event.cond),
        "action": "\n".join(actions),
        "log": [label for label, _ in event.log],
        "tags": list(event.tags),
        "locate": event.located,
        "terminal": event.terminal,
    }
    return {key: value for key, value in found.items() if value}


def _preset(preset: Preset) -> dict[str, Any]:
    def table(entries: tuple[tuple[str, tuple[float, ...]], ...]) -> dict[str, Any]:
        return {name: values[0] if len(values) == 1 else list(values) for name, values in entries}

    return {"params": table(preset.params), "states": table(preset.states)}


def _sim(model: Model) -> dict[str, Any]:
    sim = model.sim
    options: dict[str, Any] = dict(sim.options)
    for kind, state, value in sim.tolerances:
        options.setdefault(f"{kind}_of", {})[state] = value
    found: dict[str, Any] = {
        "t0": sim.t0,
        "t_end": sim.t_end,
        "dt": sim.dt,
        "stepper": sim.stepper,
        "record": sim.record,
        "max_steps": sim.max_steps,
        "stop": None if sim.stop is None else spell(sim.stop),
        "tstops": list(sim.tstops) or None,
        "options": options,
    }
    return {key: value for key, value in found.items() if value is not None and value != {}}
