"""`tools.frameworks`: what is counted, and the table it writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tools.frameworks import __main__ as tool
from tools.frameworks import suites, table
from tools.frameworks.libraries import LIBRARIES

REPORT = """<testsuites><testsuite>
<testcase classname="a" name="good"/>
<testcase classname="a" name="bad"><failure/></testcase>
<testcase classname="a" name="broken"><error/></testcase>
<testcase classname="a" name="left out"><skipped/></testcase>
<testcase classname="a" name="twice"/>
<testcase classname="a" name="twice"><error/></testcase>
</testsuite></testsuites>"""


def test_a_report_is_read(tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_text(REPORT)
    assert suites.read_report(path) == {
        "a::good": "passed",
        "a::bad": "failed",
        "a::broken": "failed",
        "a::left out": "skipped",
        "a::twice": "failed",
    }


def test_a_suite_does_not_get_the_settings_of_who_runs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # CI's `-n 3` is an unknown option to a pytest without xdist.
    monkeypatch.setenv("PYTEST_ADDOPTS", "-n 3 --dist loadfile")
    monkeypatch.setenv("PYTHONHOME", "/elsewhere")
    monkeypatch.setenv("KEPT", "1")
    job = suites.Job("python", "folder", (), (), {"OWN": "2"})
    environment = suites.environment_of(job)
    assert not {"PYTEST_ADDOPTS", "PYTHONHOME"} & environment.keys()
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(suites.ROOT / "src")
    assert (environment["KEPT"], environment["OWN"]) == ("1", "2")


def test_nothing_that_pymongo_passes_proves_nothing() -> None:
    result = tool.Comparison("k", "K", "1", "4", "2026-12-01")
    tool._count(result, {"a": "failed"}, {"a": "failed"})
    assert not result.proves
    tool._count(result, {"b": "passed"}, {"b": "failed"})
    assert not result.proves
    result = tool.Comparison("k", "K", "1", "4", "2026-12-01")
    tool._count(result, {"a": "passed"}, {"a": "passed"})
    assert result.proves


def test_only_what_pymongo_passes_can_be_lost() -> None:
    result = tool.Comparison("k", "K", "1", "4", "2026-12-01")
    pymongo = {"a": "passed", "b": "passed", "c": "failed", "d": "skipped", "e": "passed"}
    mongokey = {"a": "passed", "b": "failed", "c": "passed", "d": "skipped"}
    tool._count(result, pymongo, mongokey)
    assert (result.tests, result.passed_pymongo, result.passed_mongokey) == (4, 3, 2)
    assert result.lost == ["b", "e"]


def test_the_table_keeps_a_row_for_each_library(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{table.BEGIN}\n{table.END}\nafter\n")
    first, second = [library.name for library in LIBRARIES.values()][:2]
    cells = ["1.0", "its own", "9", "8", "8", "0", "2026-12-01"]
    table.write_table(second, cells, page)
    table.write_table(first, cells, page)
    table.write_table(second, ["2.0", *cells[1:]], page)
    text = page.read_text()
    rows = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [row.split("|")[1:3] for row in rows] == [
        [f" {first} ", " 1.0 "],
        [f" {second} ", " 2.0 "],
    ]
    assert text.startswith("before\n")
    assert text.endswith("after\n")


def test_every_usage_program_is_there() -> None:
    for library in LIBRARIES.values():
        for suite in library.suites:
            assert (
                suite.sdist
                or suite.repository
                or all((tool.USAGE_PROGRAMS / file).exists() for file in suite.files)
            )
    page = table.PAGE.read_text(encoding="utf-8")
    for library in LIBRARIES.values():
        sections = [each.environment.get("PAGE_SECTION") for each in library.suites]
        headings = [f"\n### {each}\n\n```python framework\n" for each in sections if each]
        assert all(page.count(each) == 1 for each in headings), library.key
        assert headings or library.key == "umongo"
    assert page.count(table.BEGIN) == page.count(table.END) == 1
