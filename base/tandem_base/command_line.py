"""The command line of both programs: what it is, and what is done before a program begins.

``asked`` reads it and the settings, and starts the log. Every setting is a flag, before the command
or after it. Called by the programs' ``__main__``, which only say what is theirs.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Generic, TypeVar

from tandem_base import logs
from tandem_base.settings import (
    BaseSettings,
    SettingsError,
    flag_of,
    ignored_variables,
    load,
    unknown,
    wanted,
)

log = logging.getLogger(__name__)

BAD_SETTINGS = 2

S = TypeVar("S", bound=BaseSettings)


@dataclass(frozen=True)
class Command:
    """``argument``: the name and the form of the one word that it takes, if it takes one."""

    name: str
    help: str
    description: str = ""
    argument: tuple[str, str] | None = None


@dataclass(frozen=True)
class Asked(Generic[S]):
    """What the command line asks for. ``argument``: the command's word; empty if it takes none."""

    command: str
    settings: S
    argument: str = ""


@dataclass(frozen=True)
class Program(Generic[S]):
    """A program as its command line shows it. The first command is the default."""

    name: str
    description: str
    settings: type[S]
    default_file: Path
    commands: Sequence[Command]

    def parser(self) -> argparse.ArgumentParser:
        # Without abbreviations: a setting that is added later must not change what one means.
        top = argparse.ArgumentParser(
            prog=self.name,
            description=self.description,
            epilog=f"Settings come from --config (YAML; {self.default_file} if it exists), then"
            " flags. No environment variable is a setting.",
            allow_abbrev=False,
        )
        top.add_argument("--version", action="version", version=f"{self.name} {program_version()}")
        top.add_argument("--config", type=Path, metavar="FILE", help="configuration file")
        _add_flags(top, self.settings, None)
        commands = top.add_subparsers(dest="command", metavar="COMMAND")
        for each in self.commands:
            default = " (the default)" if each is self.commands[0] else ""
            parser = commands.add_parser(
                each.name,
                help=each.help + default,
                description=each.description or f"{each.help[0].upper()}{each.help[1:]}.",
                allow_abbrev=False,
            )
            _add_flags(parser, self.settings, argparse.SUPPRESS)
            if each.argument:
                name, form = each.argument
                parser.add_argument(name, metavar=form)
        return top

    def run(
        self,
        arguments: Sequence[str] | None,
        act: Callable[[Asked[S]], int],
        ends: Mapping[type[Exception], int],
    ) -> int:
        """``act`` on what is asked; its exit code. ``ends``: what of the exceptions that it may
        raise is told in one line, and with which exit code.
        """
        try:
            asked = self._asked(arguments)
        except SettingsError as error:
            # How to write it is one of the settings.
            print(f"{self.name}: {error}", file=sys.stderr)
            return BAD_SETTINGS
        try:
            return act(asked)
        except tuple(ends) as error:
            if asked.settings.log_format is logs.Format.JSON:
                log.critical("%s: %s", self.name, error)
            else:
                print(f"{self.name}: {error}", file=sys.stderr)
            return next(code for kind, code in ends.items() if isinstance(error, kind))

    def _asked(self, arguments: Sequence[str] | None) -> Asked[S]:
        """With the log started.

        Raises:
            SettingsError: they cannot be used.
        """
        found, left = self.parser().parse_known_args(arguments)
        if left:
            flags = [flag_of(name) for name in self.settings.model_fields]
            raise SettingsError(unknown(left[0].partition("=")[0], "command line", flags))
        options = vars(found)
        config, command = options.pop("config"), options.pop("command") or self.commands[0].name
        words = {each.name: each.argument for each in self.commands}[command]
        argument = str(options.pop(words[0])) if words else ""
        settings = load(self.settings, config, self.default_file, options)
        logs.begin(settings.log_level, settings.log_format)
        for name in ignored_variables(self.settings, os.environ):
            log.warning(
                "the environment variable %s is ignored: settings are flags, or in a file", name
            )
        return Asked(command, settings, argument)


def program_version() -> str:
    try:
        return version("tandem")
    except PackageNotFoundError:
        return "source"


def _add_flags(
    parser: argparse.ArgumentParser, kind: type[BaseSettings], default: str | None
) -> None:
    """Every setting is a flag, too."""
    for name, field in kind.model_fields.items():
        parser.add_argument(
            flag_of(name),
            default=default,
            metavar=name.rsplit("_", maxsplit=1)[-1].upper(),
            help=f"{field.description} ({wanted(kind, name)}; default: {field.default or 'none'})",
        )
