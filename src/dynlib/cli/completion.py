"""`dynlib completion SHELL`: completion of commands, options, models, steppers and names of a model's values.

The shell asks the command itself at each press of the key, through argcomplete (the extra `cli`), which is imported for
nothing else. What depends on the command line, such as the parameters of its model, is found here.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dynlib.cli.exits import Exit
from dynlib.cli.parser import Commands, command
from dynlib.cli.show import as_json
from dynlib.errors import ConfigError, DynlibError

if TYPE_CHECKING:
    from dynlib.spec.model import Model

SHELLS = ("bash", "zsh", "fish")
Completer = Callable[..., Iterable[str]]


def add_to(commands: Commands) -> None:
    """Declare the command."""
    p = command(commands, "completion", completion, "print the code that completes this command in a shell")
    p.add_argument("shell", choices=SHELLS, metavar="SHELL", help="bash, zsh or fish")


def completion(arguments: argparse.Namespace) -> int:
    """Print code for a shell. In ~/.bashrc or ~/.zshrc: eval "$(dynlib completion bash)" (or zsh); in fish: dynlib
    completion fish > ~/.config/fish/completions/dynlib.fish"""
    try:
        from argcomplete.shell_integration import shellcode
    except ImportError:
        raise ConfigError("completion needs the package argcomplete: pip install argcomplete") from None
    script = shellcode(["dynlib"], shell=arguments.shell)
    print(as_json({"shell": arguments.shell, "script": script}) if arguments.json else script)
    return Exit.DONE


def answer(parser: argparse.ArgumentParser) -> None:
    """If a shell asks for completions, give them and end the process."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser, always_complete_options="long")


def completed(action: argparse.Action, completer: Completer) -> None:
    """Complete the values of an argument in this way."""
    action.completer = completer  # type: ignore[attr-defined]  # where argcomplete looks for it


# -- values that are completed -------------------------------------------------------------------------------------


def _quiet(completer: Completer) -> Completer:
    """Where the line makes no sense yet, there is nothing to complete."""

    def quiet(*args: Any, **kwargs: Any) -> Iterable[str]:
        try:
            return list(completer(*args, **kwargs))
        except (DynlibError, OSError):
            return []

    return quiet


def files(*suffixes: str) -> Completer:
    """Files with these suffixes, and folders."""

    def completer(prefix: str, **_: object) -> Iterable[str]:
        from argcomplete.completers import FilesCompleter

        found: Iterable[str] = FilesCompleter(suffixes)(prefix)
        return found

    return completer


def models(prefix: str, **_: object) -> Iterable[str]:
    """Built-in models, model files and snapshot files."""
    from dynlib.spec.locations import builtin_models

    return [*(m for m in builtin_models() if m.startswith(prefix)), *files("toml", "npz")(prefix)]


def steppers(**_: object) -> Iterable[str]:
    """All steppers."""
    from dynlib.steppers import list_steppers

    return list_steppers()


def _model(arguments: argparse.Namespace) -> Model:
    from dynlib.cli.model import model_at

    return model_at(arguments.model)


@_quiet
def values(parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """`NAME=` for every state and parameter."""
    model = _model(parsed_args)
    return [f"{q.name}=" for q in (*model.params, *model.states)]


@_quiet
def presets(parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """The model's presets."""
    return [p.name for p in _model(parsed_args).presets]


@_quiet
def options(parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """`NAME=` for every option of the stepper."""
    from dynlib.steppers import get_stepper, list_steppers

    chosen = [parsed_args.stepper] if parsed_args.stepper else list_steppers()
    return dict.fromkeys(f"{name}=" for each in chosen for name in get_stepper(each).option_names)


@_quiet
def columns(prefix: str, parsed_args: argparse.Namespace, **_: object) -> Iterable[str]:
    """Names to record, after those that are there already."""
    model = _model(parsed_args)
    before = prefix[: prefix.rfind(",") + 1]
    names: Mapping[str, None] = dict.fromkeys((*(q.name for q in model.states), *model.aux_by_name))
    return [f"{before}{name}" for name in names if name not in before.split(",")]
