"""The command `mongokey check`: its arguments in, a check, and its report printed or as JSON.

Knows how `--option value` of any connection option is read, and where the string may come from.
Must not know the steps, nor show what it was given.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from mongokey._support.secrets import keeps_secrets
from mongokey.cli import output
from mongokey.cli.check import run_check
from mongokey.cli.check_output import Printer
from mongokey.cli.exit_codes import FAILED, INTERRUPTED
from mongokey.options import validators
from mongokey.options.table import KEYWORD, find, unknown_option

VARIABLE = "MONGODB_URI"
_BOOLEANS = frozenset({"true", "false"})


class Given:
    """What stood on the command line; no `repr` shows it."""

    __slots__ = ("from_shell", "keywords", "uri")

    def __init__(self, uri: str, keywords: dict[str, Any], *, from_shell: bool) -> None:
        self.uri = uri
        self.keywords = keywords
        self.from_shell = from_shell


@keeps_secrets
def run_command(
    arguments: list[str],
    *,
    as_json: bool,
    timeout_s: float,
    all_hosts: bool,
    name_server: tuple[str, int] | None,
) -> int:
    """Run a check as the command line asks for it; returns the exit code.

    Raises click.UsageError for arguments that are none.
    """
    given = _read(arguments)
    arguments.clear()
    fail_fast = given.keywords.pop("failFast", "true").lower() != "false"
    printer = None
    if not as_json:
        from mongokey.cli.mistakes import mask

        printer = Printer(output.make_console())
        printer.heading(mask(given.uri))
    try:
        report = run_check(
            given.uri,
            given.keywords,
            timeout_s=timeout_s,
            all_hosts=all_hosts,
            name_server=name_server,
            from_shell=given.from_shell,
            fail_fast=fail_fast,
            listener=printer,
        )
    except BrokenPipeError:
        raise  # who read the output has gone
    except KeyboardInterrupt:
        if printer is not None:
            printer.stop()
        click.echo("mongokey: interrupted", err=True)
        return INTERRUPTED
    except Exception:
        # A fault of ours. It is not to go up through frames that have the arguments, and Python's
        # own report shows no variables.
        import traceback

        click.echo(f"mongokey: an error of mongokey's own\n{traceback.format_exc()}", err=True)
        return FAILED
    finally:
        if printer is not None:
            printer.stop()
    if printer is None:
        # In ASCII: what a server or an argument says need not be text that can be written.
        click.echo(json.dumps(report.as_json(), indent=2, default=str))
    else:
        printer.report(report)
    return report.exit


def _read(arguments: Sequence[str]) -> Given:
    uris: list[str] = []
    keywords: dict[str, Any] = {}
    waiting = list(reversed(arguments))
    while waiting:
        token = waiting.pop()
        if not token.startswith("--"):
            uris.append(token)
            continue
        name, equals, value = token[2:].partition("=")
        option = find(name)
        if option is None or not option.sources & KEYWORD:
            _refuse(str(unknown_option(name)))
        if not equals:
            value = _value_of(option.name, option.validate is validators.boolean, waiting)
        keywords[option.name] = value
    if len(uris) > 1:
        _refuse("give one URI; quote it in single quotes, so that the shell leaves it whole")
    if uris == ["-"]:
        line = sys.stdin.readline().removesuffix("\n").removesuffix("\r")
        if not line:
            _refuse("standard input has no URI in its first line")
        return Given(line, keywords, from_shell=False)
    if uris:
        return Given(uris[0], keywords, from_shell=True)
    uri = os.environ.get(VARIABLE)
    if not uri:
        _refuse(f"give a URI, - to have it read from standard input, or set {VARIABLE}")
    return Given(uri, keywords, from_shell=False)


def _value_of(name: str, boolean: bool, waiting: list[str]) -> str:
    """The value behind an option's name; one that is true or false may have none."""
    if boolean and not (waiting and waiting[-1].lower() in _BOOLEANS):
        return "true"
    if not waiting:
        _refuse(f"--{name} needs a value")
    return waiting.pop()


def _refuse(text: str) -> NoReturn:
    raise click.UsageError(text)


__all__ = ["VARIABLE", "run_command"]
