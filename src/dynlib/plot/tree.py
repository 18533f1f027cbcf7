"""The tree of a study: one row per branch, time to the right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynlib.arguments import checked
from dynlib.plot.axes import axes_or_new
from dynlib.session.lineage import Edit, Tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@checked
def tree(tree: Tree, ax: Axes | None = None) -> Axes:
    """Draw a tree of snapshots: a dot per moment, a line per stretch of simulation, edits written along it.

    >>> import dynlib.plot
    >>> sim = dynlib.setup("builtin://ode/van_der_pol")
    >>> outcome = sim.run(T=10.0)
    >>> other = sim.fork("ten")
    >>> other.assign(mu=3.0)
    >>> outcomes = [each.run(T=20.0, resume=True) for each in (sim, other)]
    >>> ax = dynlib.plot.tree(sim.tree(other))
    """
    ax = axes_or_new(ax)
    rows = tree.rows
    names: dict[tuple[float, int], list[str]] = {}
    for k, branch in enumerate(tree.branches):
        t, row = branch.moment.t, rows[k]
        color = f"C{row % 10}"
        if branch.parent is not None:
            start, above = tree.branches[branch.parent].moment.t, rows[branch.parent]
            ax.plot([start, start, t], [above, row, row], color=color, lw=2, zorder=1)
            edits = [f"{name} = {new:g}" for d in branch.deeds if isinstance(d, Edit) for name, _, new in d.changes]
            if edits:
                text = ", ".join(edits[:3]) + (", …" if len(edits) > 3 else "")
                ax.annotate(text, ((start + t) / 2, row), (0, -11), textcoords="offset points", ha="center", size=8)
        ax.plot(t, row, "o", color=color, zorder=2)
        names.setdefault((t, row), []).append(branch.moment.name)
    for place, several in names.items():  # an edit takes no time: its two sides share a place
        ax.annotate("\n".join(several), place, (0, 7), textcoords="offset points", ha="center")
    ax.set_xlabel("t")
    ax.set_yticks([])
    ax.set_ylim(max(rows, default=0) + 0.7, -0.7)
    ax.margins(x=0.08)
    for side in ("left", "right", "top"):
        ax.spines[side].set_visible(False)
    return ax
