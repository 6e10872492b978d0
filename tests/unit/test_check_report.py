"""The report of `mongokey check` as text and JSON, and the table that explains its codes."""

from __future__ import annotations

import importlib.util
import io
import json
import threading
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from mongokey._support.deadline import Timeout
from mongokey.cli.app import cli
from mongokey.cli.check.report import EXITS, FAILED, OK, STEPS, WARNED, Found, Report, Step
from mongokey.cli.check.state import State
from mongokey.cli.check_command import _read
from mongokey.cli.check_output import Printer
from mongokey.diagnostics import AREAS, CERTAIN, LIKELY, TABLE, Diagnosis
from mongokey.options.table import KEYWORD, OPTIONS
from tests.checks import SCHEMA
from tests.schemas import problems_of

DOCS = Path(__file__).resolve().parents[2] / "docs"


def made(failed: str = "login") -> Report:
    report = Report("mongodb://ada:***@db/")
    for name in STEPS:
        step = Step(name)
        if STEPS.index(name) < STEPS.index(failed):
            step.status = OK
            step.lines = [f"{name} is well"]
        report.steps.append(step)
    step = report.steps[STEPS.index(failed)]
    step.status = FAILED
    step.lines = ["it failed"]
    report.failed = failed
    facts = {"user": "ada", "source": "admin", "source_origin": "the default", "tls": True}
    facts |= {"mechanism": "SCRAM-SHA-256", "host": "db:27017", "address": "10.0.0.7"}
    report.found = [
        Found(Diagnosis("AUTH-PASSWORD-WRONG", LIKELY, "it is wrong", ["seen"], "set it"), facts),
        Found(Diagnosis("AUTH-CHANGED", LIKELY, "it was changed", fix="read it anew"), facts),
        Found(Diagnosis("AUTH-ATLAS", LIKELY, "Atlas")),
    ]
    report.warnings = [Found(Diagnosis("SECRET-BLANK", LIKELY, "a blank", ["uri", "   ^"], "fix"))]
    return report


def printed(report: Report, **options: Any) -> str:
    output = io.StringIO()
    console = Console(
        file=output, width=100, highlight=False, markup=False, soft_wrap=True, **options
    )
    printer = Printer(console)
    printer.heading(report.string)
    for step in report.steps:
        printer.began(step.name)
        printer.ended(step)
    printer.report(report)
    return output.getvalue()


# ---------------------------------------------------------------- JSON


def test_json_has_every_key_and_no_other() -> None:
    document = made().as_json()
    assert problems_of(document, SCHEMA) == []
    assert document["diagnoses"][0]["evidence"]["seen"] == ["seen"]
    assert document["exit"] == 6


# The keys that somebody's program may read. None is ever taken away.
KEYS = {
    "": ["ok", "exit", "failed", "diagnoses", "steps", "warnings", "string"],
    "diagnosis": ["code", "confidence", "summary", "evidence", "fix", "docs"],
    "step": ["name", "status", "ms", "facts"],
}


def test_the_schema_never_loses_a_key() -> None:
    assert set(KEYS[""]) <= set(SCHEMA["required"])
    for name in ("diagnosis", "step"):
        rule = SCHEMA["$defs"][name]
        assert set(KEYS[name]) <= set(rule["required"]) <= set(rule["properties"])
    assert set(SCHEMA["properties"]["failed"]["enum"]) == {None, *STEPS}
    assert set(SCHEMA["properties"]["exit"]["enum"]) == {0, 8, *EXITS.values()}
    assert SCHEMA["$defs"]["step"]["properties"]["name"]["enum"] == list(STEPS)


@pytest.mark.parametrize("key", KEYS[""])
def test_the_schema_finds_what_is_missing_or_wrong(key: str) -> None:
    document = made().as_json()
    del document[key]
    assert problems_of(document, SCHEMA) == [f"$: {key} is missing"]
    document = {**made().as_json(), key: object()}
    assert problems_of(document, SCHEMA)
    document = {**made().as_json(), "more": 1}
    assert problems_of(document, SCHEMA) == ["$: more is not known"]


def test_the_exit_code_says_the_step_or_that_the_time_ran_out() -> None:
    assert [made(name).exit for name in STEPS] == [2, 3, 4, 5, 9, 6, 7, 7]
    report = made("tcp")
    report.timed_out = True
    assert report.exit == 8
    report.failed = None
    assert (report.exit, report.ok) == (0, True)


# ---------------------------------------------------------------- text


def test_only_the_failed_step_is_opened_and_the_verdict_comes_last() -> None:
    text = printed(made())
    lines = [line for line in text.splitlines() if line.strip()]
    assert lines[0] == "mongokey check mongodb://ada:***@db/"
    assert [line.split()[1] for line in lines[1:7]] == list(STEPS[:6])
    assert lines[7].endswith("identity, read: not come to")
    titles = [line.split()[0] for line in lines[8:-1] if line[2] != " "]
    assert titles == ["note", "do", "seen", "means", "do", "else"]
    assert "user 'ada' in 'admin' from the default, SCRAM-SHA-256, at db:27017 (10.0.0.7)" in text
    assert "[AUTH-PASSWORD-WRONG, likely] it is wrong" in text
    assert "further: AUTH-ATLAS" in text
    assert lines[-1].startswith("The login fails (step login, exit code 6).")


def test_a_pipe_gets_no_colours_and_a_terminal_does() -> None:
    assert "\x1b" not in printed(made())
    coloured = printed(made(), force_terminal=True, color_system="standard")
    assert "\x1b[" in coloured
    # NO_COLOR leaves bold and dim, which are no colours.
    plain = printed(made(), force_terminal=True, color_system="standard", no_color=True)
    assert "\x1b[31m" not in plain
    assert "\x1b[32m" not in plain


def test_what_a_terminal_cannot_show_is_words() -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    printer = Printer(Console(file=output, width=100))
    for step in made().steps:
        printer.ended(step)
    printer.report(made())
    output.flush()
    text = output.buffer.getvalue().decode("ascii")  # type: ignore[attr-defined]
    assert "FAILED login" in text


def test_no_line_of_prose_is_too_long_and_a_string_to_copy_stays_whole() -> None:
    report = made()
    uri = "mongodb://ada:***@" + ",".join(f"host-{n}.example.net:27017" for n in range(9)) + "/"
    long = " ".join(["word"] * 60)
    report.found = [Found(Diagnosis("AUTH-ATLAS", CERTAIN, long, [long], uri))]
    text = printed(report)
    assert uri in text
    assert all(len(line) <= 110 or uri in line for line in text.splitlines())


def test_a_step_that_warns_is_marked() -> None:
    report = made("read")
    report.failed, report.found = None, []
    report.steps[4].status = WARNED
    assert "! hello" in printed(report)


# ---------------------------------------------------------------- the table


def test_every_entry_is_whole() -> None:
    assert sum(map(len, AREAS.values())) == len(TABLE) > 150
    for code, entry in TABLE.items():
        assert entry.code == code
        for text in (entry.means, entry.sure, entry.seen, entry.fix):
            assert text, code
            assert not text.endswith("."), code
        assert any(word in entry.sure for word in ("certain", "likely", "possible")), code


def test_an_insecure_switch_is_never_the_first_advice() -> None:
    for code, entry in TABLE.items():
        first = entry.fix.partition(",")[0].partition(";")[0]
        assert "tlsInsecure" not in first, code
        assert "tlsAllowInvalid" not in first, code


def explain(*arguments: str) -> Any:
    return CliRunner().invoke(cli, ["explain", *arguments])


@pytest.mark.parametrize("code", ["AUTH-PASSWORD-WRONG", "TLS-ACCESS-LIST", "ENV-MANY-CLIENTS"])
def test_explain_prints_the_long_form(code: str) -> None:
    result = explain(code)
    assert result.exit_code == 0
    assert result.output.startswith(code)
    for text in (TABLE[code].means, TABLE[code].sure, TABLE[code].fix, TABLE[code].docs):
        assert text in result.output
    document = json.loads(explain(code, "--json").stdout)
    assert document["code"] == code
    assert document["ok"] is True


def test_explain_lists_all_codes() -> None:
    result = explain("--list")
    assert result.exit_code == 0
    assert all(code in result.output for code in TABLE)
    listed = json.loads(explain("--list", "--json").stdout)["codes"]
    assert [each["code"] for each in listed] == list(TABLE)


def test_explain_of_no_code_says_which_are_meant() -> None:
    result = explain("TLS-ACCES-LIST")
    assert result.exit_code == 1
    assert "did you mean TLS-ACCESS-LIST" in result.output
    assert explain().exit_code == 2


def troubleshooting() -> ModuleType:
    spec = importlib.util.spec_from_file_location("troubleshooting", DOCS / "troubleshooting.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_from_the_table() -> None:
    page = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    assert page == troubleshooting().written(), "run: python docs/troubleshooting.py"


# ---------------------------------------------------------------- work on several hosts


def test_who_does_not_end_is_waited_for_once_and_not_once_each() -> None:
    state = State("mongodb://db", {}, timeout_s=0.05)
    over = threading.Event()
    began = time.monotonic()
    results = state.side_by_side(lambda each: over.wait(30), range(100))
    took = time.monotonic() - began
    over.set()
    assert results == [None] * 100
    assert took < 10
    assert state.side_by_side(lambda each: each, [1, 2]) in ([1, 2], [None, 2], [1, None])


def test_what_cannot_be_interrupted_is_left_alone() -> None:
    state = State("mongodb://db", {}, timeout_s=30)
    over = threading.Event()
    assert state.within(Timeout(10_000_000).start(), lambda: over.wait(30)) is None
    over.set()
    assert state.within(state.probe(), lambda: "done") == "done"
    with pytest.raises(KeyError):
        state.within(state.probe(), lambda: {}["x"])


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    "option",
    [each for each in OPTIONS.values() if each.sources & KEYWORD],
    ids=lambda each: each.name,
)
def test_any_option_is_taken_as_a_keyword(option: Any) -> None:
    for name in (option.name, option.name.lower(), *option.aliases):
        assert _read(["mongodb://h", f"--{name}=x"]).keywords == {option.name: "x"}
    given = _read(["mongodb://h", f"--{option.name}", "true"])
    assert given.keywords == {option.name: "true"}
    assert given.uri == "mongodb://h"
