"""The parser of the command line: a mistake is an error of the library, one line with what was probably meant."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import NoReturn, TypeAlias

from dynlib.errors import ConfigError, suggest

Commands: TypeAlias = "argparse._SubParsersAction[Parser]"
Run = Callable[[argparse.Namespace], int]


class Parser(argparse.ArgumentParser):
    """A parser that raises `ConfigError` where argparse would print its usage and exit."""

    hint: Callable[[str], str] | None = None
    """What to say of an option that this command does not have, or "" for the nearest one that it has."""

    def check(self, extra: Sequence[str]) -> None:
        """Refuse what was left over. Raises `ConfigError`."""
        if not extra:
            return
        option = next((text.partition("=")[0] for text in extra if text.startswith("-")), None)
        if "=" in extra:
            raise ConfigError(f"NAME=VALUE is written without spaces, as in --set I=15 (see: {self.prog} --help)")
        if option is None:
            raise ConfigError(f"{self.prog} has no use for {extra[0]!r} (see: {self.prog} --help)")
        known = [text for text in self._option_string_actions if text.startswith("--")]
        raise ConfigError(
            f"{self.prog} has no option {option}{(self.hint and self.hint(option)) or suggest(option, known)} "
            f"(see: {self.prog} --help)"
        )

    def error(self, message: str) -> NoReturn:
        """Raises `ConfigError`."""
        raise ConfigError(f"{message} (see: {self.prog} --help)")

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """One of the choices of an action. Raises `ConfigError`."""
        choices = [str(choice) for choice in action.choices or ()]
        if not choices or value in choices:
            return
        if action.option_strings:
            what = f"{action.option_strings[0]} {value}: unknown value"
        elif isinstance(action, argparse._SubParsersAction):
            what = f"unknown command {f'{self.prog} {value}'.removeprefix('dynlib ')!r}"
        else:
            what = f"unknown {action.metavar} {value!r}"
        raise ConfigError(f"{what}{suggest(str(value), choices)} (see: {self.prog} --help)")


def command(commands: Commands, name: str, action: Run, summary: str) -> Parser:
    """A command that does something; its description is the docstring of `action`."""
    p = commands.add_parser(name, help=summary, description=action.__doc__, allow_abbrev=False)
    p.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    p.set_defaults(action=action, parser=p)
    return p


def group(commands: Commands, name: str, summary: str) -> Commands:
    """A command that has commands of its own."""
    p = commands.add_parser(name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", allow_abbrev=False)
    actions = p.add_subparsers(metavar="COMMAND", title="commands")

    def missing(arguments: argparse.Namespace) -> NoReturn:
        raise ConfigError(f"{p.prog} needs a command: {', '.join(actions.choices)} (see: {p.prog} --help)")

    p.set_defaults(action=missing, parser=p)
    return actions


def number(text: str) -> float:
    """A number on the command line."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 200 or 1e-3") from None


def whole(text: str) -> int:
    """A whole number on the command line."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number such as 1000") from None


def pairs(texts: Sequence[str], option: str, what: str = "NUMBER") -> dict[str, str]:
    """What `NAME=…` options say, in their order. Raises `ConfigError`."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ConfigError(f"{option} {text}: expected NAME={what}, without spaces, as in {option} I=15")
        if name in found:
            raise ConfigError(f"{option} {text}: {name} is given twice")
        found[name] = value
    return found


def numbers(texts: Sequence[str], option: str) -> dict[str, float]:
    """What `NAME=NUMBER` options say. Raises `ConfigError`."""
    found: dict[str, float] = {}
    for name, value in pairs(texts, option).items():
        try:
            found[name] = float(value)
        except ValueError:
            raise ConfigError(f"{option} {name}={value}: expected NAME=NUMBER, and {value!r} is not a number") from None
    return found
