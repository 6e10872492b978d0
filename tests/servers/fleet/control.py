"""Controls as lines: JSON from a program, words from a person.

Knows the names of the deployment's controls and the types of their arguments. A line is
`{"do": "kill", "member": 0}` or `kill 0`, `reconfigure 1 hidden=true`; its answer is one line of
JSON, `{"done": ...}` or `{"failed": "..."}`.
"""

from __future__ import annotations

import inspect
import json
import shlex
from typing import Any

from tests.servers.fleet.deployment import Deployment

NAMES = [
    "add",
    "remove",
    "reconfigure",
    "set_role",
    "elect",
    "inform",
    "step_down",
    "kill",
    "restart",
    "silence",
    "black_hole",
    "resume",
    "shut_down",
    "slow",
    "lag",
    "cut_writes",
    "fail_connects",
    "close_connections",
    "fail_point",
    "status",
    "log",
]


def carry_out(deployment: Deployment, line: str) -> dict[str, Any]:
    """Do what a line says; what went wrong is told, not raised."""
    try:
        name, arguments = _parse(line)
        if name not in NAMES:
            raise ValueError(f"unknown control {name!r}; there are {', '.join(NAMES)}")
        control = getattr(deployment, name)
        bound = inspect.signature(control).bind(*arguments.pop("", ()), **arguments)
        return {"done": control(*bound.args, **bound.kwargs)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def help_text() -> str:
    """The controls with their arguments, a line each."""
    lines = []
    for name in NAMES:
        control = getattr(Deployment, name)
        parameters = list(inspect.signature(control).parameters.values())[1:]
        words = " ".join(
            f"[{each.name}={_word(each.default)}]"
            if each.default is not inspect.Parameter.empty
            else each.name.upper()
            for each in parameters
        )
        summary = (inspect.getdoc(control) or "").split(". ")[0].replace("\n", " ")
        lines.append(f"{name} {words}".strip() + f"\n    {summary}")
    return "\n".join(lines)


def _word(value: object) -> str:
    return "" if value is None else str(value).lower()


def _parse(line: str) -> tuple[str, dict[str, Any]]:
    """The control's name and arguments; those without a name are under ""."""
    if line.lstrip().startswith("{"):
        document = json.loads(line)
        return document.pop("do"), document
    words = shlex.split(line)
    named: dict[str, Any] = {}
    places: list[Any] = []
    for word in words[1:]:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            named[name] = _value(value)
        else:
            places.append(_value(word))
    return words[0], {"": places, **named}


def _value(word: str) -> Any:
    """A word as a value: JSON where it is such, else text."""
    try:
        return json.loads(word)
    except ValueError:
        return word
