"""`mongokey check`, run as from a shell, and what its report says, for the tests of its causes.

Knows the command and the form of its JSON, which is held against the schema each time; must not
know any cause.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

import mongokey.cli.check as package
from mongokey.cli.app import cli
from mongokey.cli.check.report import STEPS
from mongokey.diagnostics import TABLE
from tests.schemas import problems_of
from tests.servers.scripted import Reply

SCHEMA = json.loads(Path(str(package.__file__)).with_name("schema.json").read_text("utf-8"))


#: What a scripted server answers to the last two steps.
ANSWERS = {
    "connectionStatus": Reply(
        {"ok": 1, "authInfo": {"authenticatedUsers": [], "authenticatedUserRoles": []}}
    ),
    "listCollections": Reply({"ok": 1, "cursor": {"id": 0, "ns": "x.$cmd", "firstBatch": []}}),
    "find": Reply({"ok": 1, "cursor": {"id": 0, "ns": "x.y", "firstBatch": []}}),
    "buildInfo": Reply({"ok": 1, "version": "7.0.0", "modules": []}),
}


def run(*arguments: str, input: str | None = None, env: dict[str, str] | None = None) -> Result:
    """The command with these arguments, in this process."""
    return CliRunner().invoke(cli, ["check", *arguments], input=input, env=env)


def check(*arguments: str, timeout: float = 20.0, **options: Any) -> dict[str, Any]:
    """The JSON report; its exit code is the process's."""
    result = run("--json", "--timeout", str(timeout), *arguments, **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    document: dict[str, Any] = json.loads(result.stdout)
    assert problems_of(document, SCHEMA) == []
    assert result.exit_code == document["exit"]
    assert [each["name"] for each in document["steps"]] == list(STEPS)
    assert document["ok"] == (document["failed"] is None) == (document["exit"] == 0)
    for each in (*document["diagnoses"], *document["warnings"]):
        # The table says how sure a cause can be.
        assert each["confidence"] in TABLE[each["code"]].sure, each
    return document


def codes(document: dict[str, Any], where: str = "diagnoses") -> dict[str, str]:
    """Confidence by code, in the report's order."""
    return {each["code"]: each["confidence"] for each in document[where]}


def found(document: dict[str, Any], code: str, where: str = "diagnoses") -> dict[str, Any]:
    """The diagnosis with that code."""
    listed: list[dict[str, Any]] = document[where]
    matching = [each for each in listed if each["code"] == code]
    assert matching, f"{code} is not among {codes(document, where)}: {document['steps']}"
    return matching[0]


def expect(
    document: dict[str, Any], code: str, confidence: str, *, failed: str, exit: int
) -> dict[str, Any]:
    """That the check failed in that step, and that the surest cause is this one; gives it."""
    assert (document["failed"], document["exit"]) == (failed, exit), document
    first: dict[str, Any] = document["diagnoses"][0]
    assert (first["code"], first["confidence"]) == (code, confidence), document["diagnoses"]
    assert code in TABLE
    assert first["docs"] == TABLE[code].docs
    assert first["summary"]
    return first


def step(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The step of that name."""
    return next(each for each in document["steps"] if each["name"] == name)


def seen(diagnosis: dict[str, Any]) -> str:
    """The evidence in words, as one text."""
    return "\n".join(diagnosis["evidence"]["seen"])
