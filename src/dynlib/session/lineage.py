"""Lineage: what was done between snapshots, so that a study is a tree whose every point can be replayed.

A trail leads from a root (the state that a model itself describes, or one adopted from elsewhere) to a state. It is
canonical: runs that follow one another without an edit are one run, since a stop changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from dynlib.compared import Compared
from dynlib.markup import Dot, escaped, tree_picture
from dynlib.runtime.state import Array, SessionState
from dynlib.spec.model import Model
from dynlib.status import Status


class Edit(Struct, frozen=True):
    """Values set from outside at time `t` after `step` steps.

    `changes` are (name, old, new): states and parameters by name, `run.t0`, `run.dt`, `option.rtol`, and other
    fields of the state (`field.seed`, `field.observer_mean_of_x_count`).
    `dropped` names the memory that was given up because it depends on them (pending step, stepper history, step-size
    control). `restart` says whether the trajectory begins anew there, `new_past` whether lags forget what was before.
    """

    t: float
    step: int
    changes: tuple[tuple[str, float, float], ...]
    dropped: tuple[str, ...] = ()
    restart: bool = True
    new_past: bool = False

    def __str__(self) -> str:
        shown = ", ".join(f"{name}: {old:g} → {new:g}" for name, old, new in self.changes[:6])
        return f"set {shown or 'nothing'}{', …' if len(self.changes) > 6 else ''}"


class Recorder(Struct, frozen=True):
    """The recorder was set: every `interval` steps, or (interval 0) on a grid of times with spacing `dt`."""

    interval: int
    dt: float

    def __str__(self) -> str:
        return f"record every {self.interval} step(s)" if self.interval else f"record every {self.dt:g}"


class Stretch(Struct, frozen=True):
    """The state was advanced from one time and step count to another; `pending` says that it stands inside a step."""

    t_from: float
    t_to: float
    step_from: int
    step_to: int
    pending: bool
    status: str

    def __str__(self) -> str:
        return f"run t = {self.t_from:g} … {self.t_to:g} ({self.step_to - self.step_from} steps, {self.status})"


Deed = Edit | Recorder | Stretch
_SHOWN = 3
_KINDS: dict[str, type[Edit] | type[Recorder] | type[Stretch]] = {"edit": Edit, "record": Recorder, "run": Stretch}


class Moment(Protocol):
    """A point of a tree: a snapshot in memory, or an ancestor known from a file."""

    @property
    def name(self) -> str: ...
    @property
    def t(self) -> float: ...
    @property
    def step(self) -> int: ...
    @property
    def trail(self) -> Trail: ...
    @property
    def state_digest(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def known_id(self) -> list[str]: ...


M = TypeVar("M", bound=Moment)


class Root(Struct, frozen=True):
    """Where a lineage begins. One that is not exact began with values taken over from a state of another model."""

    dt: float
    options: tuple[tuple[str, float], ...]
    exact: bool = True
    note: str = ""


class _Link(Struct, frozen=True, eq=False):
    before: _Link | None
    deed: Deed


class Trail(Struct, frozen=True, eq=False):
    """The deeds since `parent`, or since the root if there is no parent."""

    root: Root
    parent: Moment | None = None
    _last: _Link | None = None

    @property
    def deeds(self) -> tuple[Deed, ...]:
        """The deeds in their order."""
        found: list[Deed] = []
        at = self._last
        while at is not None:
            found.append(at.deed)
            at = at.before
        return tuple(reversed(found))

    def then(self, deed: Deed) -> Trail:
        """This trail with one more deed, in the time of a reference."""
        before = self._last
        if isinstance(deed, Stretch) and before is not None and isinstance(before.deed, Stretch):
            deed = replace(deed, t_from=before.deed.t_from, step_from=before.deed.step_from)
            before = before.before
        return Trail(self.root, self.parent, _Link(before, deed))

    def after(self, moment: Moment) -> Trail:
        """The trail of what follows a moment of this lineage."""
        return Trail(self.root, moment)

    def moments(self) -> list[Moment]:
        """The ancestors, oldest first."""
        found: list[Moment] = []
        at = self.parent
        while at is not None:
            found.append(at)
            at = at.trail.parent
        return found[::-1]


class Ancestor(Compared, frozen=True, eq=False):
    """A moment known by name, place and digest only; its state is not at hand. Equal if name and content are."""

    name: str
    t: float
    step: int
    trail: Trail
    state_digest: str
    known_id: list[str] = field(default_factory=list)

    @property
    def id(self) -> str:
        """Digest over state and lineage."""
        return moment_id(self)

    def _key(self) -> tuple[object, ...]:
        return self.name, self.id


def with_moment(moment: M, done: dict[int, Moment]) -> M:
    """A moment whose lineage passes through other moments of the same content; `done` maps the old ones by identity.

    What is replaced on the way is added to `done`; a moment whose lineage knows none of them is returned as it is.
    """
    chain: list[Moment] = [moment]
    while id(chain[-1]) not in done and chain[-1].trail.parent is not None:
        chain.append(chain[-1].trail.parent)
    for each in reversed(chain):
        if id(each) not in done:
            parent = each.trail.parent
            other = None if parent is None else done[id(parent)]
            kept = other is parent
            done[id(each)] = each if kept else replace(each, trail=replace(each.trail, parent=other))  # type: ignore[type-var]
    return done[id(moment)]  # type: ignore[return-value]


def with_ancestor(trail: Trail, done: dict[int, Moment]) -> Trail:
    """A trail that begins at a moment as `with_moment` makes it."""
    return trail if trail.parent is None else replace(trail, parent=with_moment(trail.parent, done))


def moment_id(moment: Moment) -> str:
    """Digest over the state of a moment and all that led to it: equal for equal content, whatever the names."""
    chain: list[Moment] = []
    at: Moment | None = moment
    while at is not None and not at.known_id:
        chain.append(at)
        at = at.trail.parent
    for each in reversed(chain):
        parents = [] if each.trail.parent is None else each.trail.parent.known_id
        text = json.dumps([_root_json(each.trail.root), parents, deeds_json(each.trail.deeds)], allow_nan=False)
        each.known_id.append(hashlib.sha256(f"{each.state_digest} {text}".encode()).hexdigest())
    return moment.known_id[0]


def digest_of(state: SessionState) -> str:
    """Digest over every bit of a state, its pins and options."""
    pins = {name: value for name, value in asdict(state.pins).items() if name != "library_version"}
    total = hashlib.sha256(json.dumps(pins, sort_keys=True).encode())
    for block in (state.times, state.reals, state.counts, np.array(state.config, "<f8")):
        total.update(np.ascontiguousarray(block, block.dtype.newbyteorder("<")).tobytes())
    return total.hexdigest()


# -- making and repeating deeds ------------------------------------------------------------------------------------


def stretch_of(before: SessionState, after: SessionState) -> Stretch:
    """The deed that led from one state to another by running."""
    return Stretch(before.t, after.t, before.step, after.step, after.pending, after.status.name)


def edit_of(
    before: SessionState,
    after: SessionState,
    model: Model,
    options: tuple[str, ...],
    *,
    restart: bool = True,
    new_past: bool = False,
) -> Edit:
    """The deed that led from one state to another by setting values."""
    changes: list[tuple[str, float, float]] = []
    for field_name, quantities in (("y", model.states), ("params", model.params)):
        names = [e for q in quantities for e in q.element_names]
        old, new = before[field_name], after[field_name]
        bits = np.dtype(f"i{old.dtype.itemsize}")
        for k in np.flatnonzero(old.view(bits) != new.view(bits)):
            changes.append((names[k], float(old[k]), float(new[k])))
    pairs = [("run.t0", before.t, after.t), ("run.dt", before.nominal_dt, after.nominal_dt)]
    pairs += [(f"option.{n}", a, b) for n, a, b in zip(options, before.config, after.config, strict=True)]
    watched = [f.name for f in before.layout.fields if f.role == "observer" or f.name in ("seed", "stream")]
    pairs += [(f"field.{name}", float(before[name][0]), float(after[name][0])) for name in watched]
    changes += [pair for pair in pairs if repr(pair[1]) != repr(pair[2])]  # also where only the sign of a zero differs
    memory = [f.name for f in before.layout.fields if f.on_edit == "restart"]
    dropped = [name for name in memory if before[name].tobytes() != after[name].tobytes()]
    return Edit(before.t, before.step, tuple(changes), tuple(dropped) if restart else (), restart, new_past)


def edited_fields(
    model: Model, options: tuple[str, ...], state: SessionState, fields: Mapping[str, float]
) -> tuple[SessionState, Edit]:
    """A state with some fields set as they stand, while the trajectory goes on; and the deed that this is."""
    after = state.edited(dict(fields))
    return after, edit_of(state, after, model, options, restart=False)


def repeated_edit(edit: Edit, state: SessionState, model: Model, options: tuple[str, ...]) -> SessionState:
    """The state after an edit. Raises `KeyError` for a name that the model does not have."""
    vectors = {"y": state["y"].copy(), "params": state["params"].copy()}
    spots = {}
    for field_name, quantities in (("y", model.states), ("params", model.params)):
        for k, name in enumerate(e for q in quantities for e in q.element_names):
            spots[name] = (field_name, k)
    t = dt = None
    config = dict(zip(options, state.config, strict=True))
    watched: dict[str, float | Array] = {}
    for name, _, new in edit.changes:
        if name == "run.t0":
            t = new
        elif name == "run.dt":
            dt = new
        elif name.startswith("option."):
            config[name.removeprefix("option.")] = new
        elif name.startswith("field."):
            watched[name.removeprefix("field.")] = new
        else:
            field_name, k = spots[name]
            vectors[field_name][k] = new
    state = replace(state, config=tuple(config[name] for name in options))
    if edit.restart:
        state = state.restarted(**vectors, t=t, dt=dt, new_past=edit.new_past)
    return state.edited(watched) if watched else state


# -- as JSON -------------------------------------------------------------------------------------------------------


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def deeds_json(deeds: tuple[Deed, ...]) -> list[dict[str, Any]]:
    """Deeds in strict JSON."""
    found = []
    for deed in deeds:
        kind = next(word for word, of in _KINDS.items() if isinstance(deed, of))
        values = {k: _number(v) if isinstance(v, float) else v for k, v in asdict(deed).items()}
        if isinstance(deed, Edit):
            values["changes"] = [[name, _number(old), _number(new)] for name, old, new in deed.changes]
            values["dropped"] = list(deed.dropped)
        found.append({"what": kind, **values})
    return found


def _root_json(root: Root) -> dict[str, Any]:
    options = {name: _number(value) for name, value in root.options}
    return {"dt": root.dt, "options": options, "exact": root.exact, "note": root.note}


def lineage_json(last: Moment) -> dict[str, Any]:
    """A moment and its ancestors in strict JSON."""
    return {
        "root": _root_json(last.trail.root),
        "moments": [
            {
                "name": m.name,
                "t": m.t,
                "step": m.step,
                "state": m.state_digest,
                "deeds": deeds_json(m.trail.deeds),
            }
            for m in (*last.trail.moments(), last)
        ],
    }


def lineage_from_json(content: object) -> Ancestor:
    """The last moment of a lineage with its ancestors. Raises `ValueError` for anything but what is written here."""
    root, moments = _fields(content, "root moments")
    dt, options, exact, note = _fields(root, "dt options exact note")
    if not isinstance(options, Mapping) or type(exact) is not bool or not isinstance(note, str):
        raise ValueError("the root is malformed")
    at = Trail(Root(_finite(dt), tuple((str(k), _float(v)) for k, v in options.items()), exact, note))
    last: Ancestor | None = None
    for item in _list(moments):
        name, t, step, digest, deeds = _fields(item, "name t step state deeds")
        if not isinstance(name, str) or not _is_digest(digest):
            raise ValueError("a moment is malformed")
        trail = at
        for each in _list(deeds):
            trail = trail.then(_deed(each))
        last = Ancestor(name, _finite(t), _whole(step), trail, str(digest))
        at = trail.after(last)
    if last is None:
        raise ValueError("it has no moments")
    return last


def _deed(item: object) -> Deed:
    if not isinstance(item, Mapping) or not isinstance(item.get("what"), str) or item["what"] not in _KINDS:
        raise ValueError("a deed is of no known kind")
    match item["what"]:
        case "edit":
            _, t, step, changes, dropped, restart, new_past = _fields(
                item, "what t step changes dropped restart new_past"
            )
            rows = [tuple(_list(row)) for row in _list(changes)]
            names = _list(dropped)
            flags = type(restart) is bool and type(new_past) is bool
            if not flags or any(len(row) != 3 or not isinstance(row[0], str) for row in rows):
                raise ValueError("an edit is malformed")
            if not all(isinstance(name, str) for name in names):
                raise ValueError("an edit is malformed")
            return Edit(
                _float(t),
                _whole(step),
                tuple((name, _float(old), _float(new)) for name, old, new in rows),
                tuple(names),
                restart,
                new_past,
            )
        case "record":
            _, interval, dt = _fields(item, "what interval dt")
            return Recorder(_whole(interval), _float(dt))
    _, t_from, t_to, step_from, step_to, pending, status = _fields(
        item, "what t_from t_to step_from step_to pending status"
    )
    if type(pending) is not bool or not isinstance(status, str) or status not in Status.__members__:
        raise ValueError("a run is malformed")
    return Stretch(_float(t_from), _float(t_to), _whole(step_from), _whole(step_to), pending, str(status))


def _fields(item: object, names: str) -> Iterator[Any]:
    wanted = names.split()
    if not isinstance(item, Mapping) or set(item) != set(wanted):
        raise ValueError(f"expected the keys {names}")
    return iter([item[name] for name in wanted])


def _list(item: object) -> list[Any]:
    if not isinstance(item, list):
        raise ValueError("a list is missing")
    return item


def _float(item: object) -> float:
    if item in ("inf", "-inf", "nan") and isinstance(item, str):
        return float(item)
    if isinstance(item, bool) or not isinstance(item, int | float) or abs(item) > 1.8e308:
        raise ValueError("a number is malformed")
    return float(item)


def _finite(item: object) -> float:
    if isinstance(item, str):
        raise ValueError("a number is malformed")
    return _float(item)


def _whole(item: object) -> int:
    if type(item) is not int or not 0 <= item <= 2**53:
        raise ValueError("a count is malformed")
    return item


def _is_digest(item: object) -> bool:
    return isinstance(item, str) and len(item) == 64 and set(item) <= set("0123456789abcdef")


# -- as a tree -----------------------------------------------------------------------------------------------------


class Lineage(Struct, frozen=True):
    """The way from the root to a moment: the deeds, and the moment each stretch of them led to, oldest first."""

    last: Moment

    @property
    def root(self) -> Root:
        """Where it begins."""
        return self.last.trail.root

    @property
    def parts(self) -> list[tuple[tuple[Deed, ...], Moment]]:
        """Deeds and the moment that they led to."""
        return [(m.trail.deeds, m) for m in (*self.last.trail.moments(), self.last)]

    def __repr__(self) -> str:
        lines = ["<lineage" + ("" if self.root.exact else f", not exact: {self.root.note}")]
        for deeds, moment in self.parts:
            lines += [f"    {deed}" for deed in deeds]
            lines.append(f"  {moment.name}  t = {moment.t:g}, step {moment.step}, {moment.id[:8]}")
        return "\n".join([*lines, ">"])


class Branch(Struct, frozen=True):
    """One point of a tree: its moment, the index of the nearest ancestor in the tree, and the deeds in between."""

    moment: Moment
    parent: int | None
    deeds: tuple[Deed, ...]


MOST_DOTS = 200
"""Points of a tree beyond which a notebook shows it as text only."""


class Tree(Struct, frozen=True, dict=True):
    """Snapshots and how each came from another, parents before children. Shown as text; `plot.tree` draws it."""

    branches: tuple[Branch, ...]

    @cached_property
    def _below(self) -> dict[int | None, list[int]]:
        found: dict[int | None, list[int]] = {}
        for k, branch in enumerate(self.branches):
            found.setdefault(branch.parent, []).append(k)
        return found

    def children(self, index: int | None) -> list[int]:
        """Indices of the points whose nearest ancestor is `index` (None: those without one)."""
        return list(self._below.get(index, ()))

    def __str__(self) -> str:
        lines: list[str] = []
        stack = [(k, "", "", "") for k in reversed(self.children(None))]
        while stack:
            k, lead, elbow, rest = stack.pop()
            branch = self.branches[k]
            m = branch.moment
            how = _shortly([str(d) for d in branch.deeds if not isinstance(d, Recorder)])
            lines.append(f"{lead}{elbow}{m.name}  t = {m.t:g}, step {m.step}, {m.id[:8]}{'  ← ' + how if how else ''}")
            below = self.children(k)
            for j in reversed(below):
                last = j == below[-1]
                stack.append((j, lead + rest, "└─ " if last else "├─ ", "   " if last else "│  "))
        return "\n".join(lines) or "no snapshots"

    def __repr__(self) -> str:
        return f"<tree of {len(self.branches)} moments\n{self}\n>"

    @cached_property
    def rows(self) -> list[int]:
        """The row of each point in a picture: its first child goes on in it, further ones open rows of their own."""
        rows: dict[int, int] = {}
        free = 0
        stack = list(reversed(self.children(None)))
        while stack:
            k = stack.pop()
            parent = self.branches[k].parent
            if parent is not None and self.children(parent)[0] == k:
                rows[k] = rows[parent]
            else:
                rows[k] = free
                free += 1
            stack.extend(reversed(self.children(k)))
        return [rows[k] for k in range(len(self.branches))]

    def _repr_html_(self) -> str:
        dots = []
        for branch, row in zip(self.branches, self.rows, strict=True):
            m, how = branch.moment, [str(d) for d in branch.deeds if not isinstance(d, Recorder)]
            dots.append(Dot(m.name, m.t, row, branch.parent, "; ".join([f"t = {m.t:g}, step {m.step}", _shortly(how)])))
        picture = tree_picture(dots) if len(dots) <= MOST_DOTS else ""
        return f"{picture}<pre>{escaped(str(self))}</pre>"


def _shortly(deeds: list[str]) -> str:
    """Deeds in one line; of many only the first and the last."""
    left_out = len(deeds) - 2 * _SHOWN
    if left_out > 0:
        deeds = [*deeds[:_SHOWN], f"… {left_out} more …", *deeds[-_SHOWN:]]
    return "; ".join(deeds)


def tree_of(moments: list[Moment]) -> Tree:
    """The tree of some moments and the ancestors that they share; each content once."""
    unique = {m.id: m for m in moments}
    index: dict[str, int] = {}
    branches: list[Branch] = []
    ordered: dict[str, Moment] = {}
    for moment in unique.values():  # parents first
        line: list[Moment] = []
        step: Moment | None = moment
        while step is not None and step.id not in ordered:
            line.append(step)
            step = step.trail.parent
        ordered |= {m.id: m for m in reversed(line)}
    for moment in (unique[i] for i in ordered if i in unique):
        deeds = moment.trail.deeds
        at = moment.trail.parent
        while at is not None and at.id not in index:
            deeds = at.trail.deeds + deeds
            at = at.trail.parent
        index[moment.id] = len(branches)
        branches.append(Branch(moment, None if at is None else index[at.id], deeds))
    return Tree(tuple(branches))
