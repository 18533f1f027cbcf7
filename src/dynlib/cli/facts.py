"""Facts as lines of text: a name and a value each, groups indented."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def lines(facts: Mapping[str, Any], indent: str = "") -> str:
    """The same facts that `--json` prints, for reading."""
    found = []
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            found += [f"{indent}{name}:", lines(value, indent + "  ")]
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            found += [f"{indent}{name}:"]
            found += [
                f"{indent}  {', '.join(f'{k} {_text(v)}' for k, v in each.items() if v is not None)}" for each in value
            ]
        else:
            found.append(f"{indent}{name:<{max(1, 20 - len(indent))}} {_text(value)}")
    return "\n".join(found)


def _text(value: Any) -> str:
    if isinstance(value, list):
        shown = ", ".join(_text(v) for v in value[:8])
        return f"[{shown}, … {len(value) - 8} more]" if len(value) > 8 else f"[{shown}]"
    return "—" if value is None or value == {} else f"{value}"
