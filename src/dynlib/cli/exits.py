"""Exit codes of the command line: the one table that the commands, their help and the documentation share."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """How a command can end."""

    DONE = 0
    EARLY = 1
    MISTAKE = 2
    DISK = 3
    INTERRUPTED = 130
    TERMINATED = 143

    @property
    def meaning(self) -> str:
        """One sentence for the help."""
        return _MEANING[self]


_MEANING = {
    Exit.DONE: "done: what was asked is done, or was done before",
    Exit.EARLY: "ended early (numerics or step limit), or a check found a difference or damage",
    Exit.MISTAKE: "a mistake in what was asked, or a file that cannot be used",
    Exit.DISK: "the disk: a file cannot be written",
    Exit.INTERRUPTED: "Ctrl-C",
    Exit.TERMINATED: "SIGTERM",
}


def table() -> str:
    """All codes with their meaning, a line each."""
    return "\n".join(f"  {code:>3}  {code.meaning}" for code in Exit)
