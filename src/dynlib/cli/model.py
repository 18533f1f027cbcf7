"""`dynlib model list|show|validate`: the models there are, what one says or becomes, and what is wrong with it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from dynlib.cli.completion import completed, models, steppers
from dynlib.cli.exits import Exit
from dynlib.cli.parser import Commands, command, group
from dynlib.cli.show import Table, show
from dynlib.errors import ConfigError

if TYPE_CHECKING:
    from dynlib.spec.model import Model, Quantity

MODEL = "a .toml file, builtin://ode/izhikevich (see: dynlib model list), or a snapshot file (.npz)"
_SHOWN = 4  # values of an array


def add_to(commands: Commands) -> None:
    """Declare the commands."""
    actions = group(commands, "model", "list, show and check models")
    p = command(actions, "list", list_models, "list the built-in models")
    p.add_argument("--kind", choices=("ode", "map", "sde"), help="only those of this kind")
    p = command(actions, "show", show_model, "show states, parameters, equations and events")
    completed(p.add_argument("model", metavar="MODEL", help=MODEL), models)
    p.add_argument("--source", action="store_true", help="show the generated code instead")
    completed(p.add_argument("--stepper", help="stepper of the generated code, with --source"), steppers)
    p = command(actions, "validate", validate, "check a model and say what is wrong with it")
    completed(p.add_argument("model", metavar="MODEL", help=MODEL), models)


def model_at(location: str) -> Model:
    """The model at a location, or in a snapshot file. Raises `ModelError`, `SnapshotFileError`."""
    if location.endswith(".npz"):
        from dynlib.session.snapshot_file import inspect_snapshot, model_in

        return model_in(location, inspect_snapshot(location))
    from dynlib.spec.locations import load_model

    return load_model(location)


def validate(arguments: argparse.Namespace) -> int:
    """Check a model. What is wrong with it is said with file, table and key."""
    model = model_at(arguments.model)
    head = (
        f"valid: {model.kind} {model.name!r}, {model.n_states} states, {model.n_params} parameters, "
        f"{len(model.events)} events"
    )
    facts = {"valid": True, "model": arguments.model, **_summary(model), "structure": model.structure_hash}
    show(arguments, facts, f"{head}\nstructure {model.structure_hash}")
    return Exit.DONE


def show_model(arguments: argparse.Namespace) -> int:
    """Show a model in canonical spelling, or the code generated for it."""
    if arguments.source:
        from dynlib.session.full_model import build

        model = model_at(arguments.model)
        full = build(model, stepper=arguments.stepper, jit=False)
        show(
            arguments,
            {"model": arguments.model, "stepper": full.stepper.name, "source": full.kernel.source},
            full.kernel.source.removesuffix("\n"),
        )
        return Exit.DONE
    if arguments.stepper:
        raise ConfigError("--stepper chooses the generated code; give --source as well")
    model = model_at(arguments.model)
    structure: dict[str, Any] = model.structure
    texts = {title: structure[title] for title in ("equations", "aux", "functions")}
    events = [
        {"name": e.name, "phases": list(e.phases), "located": e.located, "terminal": e.terminal,
         "logs": [label for label, _ in e.log]}
        for e in model.events
    ]  # fmt: skip
    presets = {p.name: {n: v if len(v) > 1 else v[0] for n, v in (*p.params, *p.states)} for p in model.presets}
    facts = {
        "model": arguments.model,
        **_summary(model),
        "dtype": model.dtype,
        "states": _values(model.states),
        "parameters": _values(model.params),
        "constants": dict(model.constants),
        **texts,
        "events": events,
        "presets": presets,
        "t_end": model.sim.t_end,
        "dt": model.sim.dt,
        "stepper": model.sim.stepper,
        "meta": dict(model.meta),
        "structure": model.structure_hash,
    }
    lines = [f"{model.name} ({model.kind}, {model.dtype})  {model.source}"]
    for title, group_ in (("states", model.states), ("parameters", model.params)):
        lines += [f"\n{title}", *(f"  {_assignment(q)}" for q in group_)]
    for title, rows in texts.items():
        lines += [f"\n{title}", *(f"  {row}" for row in rows)] if rows else []
    lines += ["\nevents"] if events else []
    for event in model.events:
        when = "located" if event.located else " and ".join(event.phases)
        logged = f", logs {', '.join(label for label, _ in event.log)}" if event.log else ""
        lines.append(f"  {event.name} ({when}{', terminal' if event.terminal else ''}){logged}")
    lines += [f"\npresets: {', '.join(presets)}"] if presets else []
    show(arguments, facts, "\n".join([*lines, f"\nstructure {model.structure_hash}"]))
    return Exit.DONE


def list_models(arguments: argparse.Namespace) -> int:
    """List the built-in models: their locations, and what each one is."""
    from dynlib.spec.locations import builtin_models, load_model

    found = {location: load_model(location) for location in builtin_models()}
    rows = [(at, m) for at, m in found.items() if arguments.kind in (None, m.kind)]
    show(
        arguments,
        {"models": [{"model": at, **_summary(m)} for at, m in rows]},
        Table(
            ("model", "states", "parameters", "title"),
            [(at, m.n_states, m.n_params, dict(m.meta).get("title", "")) for at, m in rows],
            right=(1, 2),
        ),
    )
    return Exit.DONE


def _summary(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "kind": model.kind,
        "title": dict(model.meta).get("title"),
        "n_states": model.n_states,
        "n_parameters": model.n_params,
        "n_events": len(model.events),
    }


def _values(quantities: tuple[Quantity, ...]) -> dict[str, float | list[float]]:
    return {q.name: q.values[0] if q.size is None else list(q.values) for q in quantities}


def _assignment(q: Quantity) -> str:
    size = "" if q.size is None else f"[{q.size}]"
    values = ", ".join(f"{v:g}" for v in q.values[:_SHOWN]) + (", …" if len(q.values) > _SHOWN else "")
    return f"{q.name}{size} = {values}"
