"""The tables in README: what stands in them comes from what was measured, and a case that failed
says so."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bench import report
from bench.runner import Result


def measured(name: str, loop: str = "", **figures: Any) -> dict[str, Any]:
    """A case as `bench.compare --json` writes it."""
    fields = {field.name: None for field in dataclasses.fields(Result)}
    fields.update(name=name, title=f"the {name}", loop=loop, unit="us", problems=[], notes=[])
    fields.update(figures)
    return {**fields, "two_cores": None}


def share(median: float) -> dict[str, float]:
    return {"median": median, "low": median - 0.01, "high": median + 0.02}


def of(face: str, *cases: dict[str, Any]) -> dict[str, Any]:
    """A whole report."""
    return {
        "date": "2026-11-30T10:00:00+00:00",
        "machine": {"cpu": "a CPU", "cores": 2, "system": "Linux"},
        "face": face,
        "versions": {
            "mongokey": {"version": "0.9", "python": "3.11.7"},
            "pymongo": {"version": "4.20", "python": "3.11.7"},
            "mongojet": {"version": "0.5", "python": "3.11.7"},
        },
        "subject": "mongokey",
        "baseline": "pymongo",
        "cases": list(cases),
    }


def rows(table: str) -> dict[str, list[str]]:
    """The cells behind each operation."""
    found = {}
    for line in table.splitlines():
        if line.startswith("| the "):
            title, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            found[title] = cells
    return found


PING = measured(
    "ping",
    "asyncio",
    target=0.25,
    ratios={"pymongo": share(0.2), "mongojet": share(0.45)},
    figures={"mongokey": {"cpu": 25.0}, "pymongo": {"cpu": 128.0}, "mongojet": {"cpu": 12345.0}},
)
UVLOOP = measured(
    "ping",
    "uvloop",
    target=0.25,
    ratios={"pymongo": share(0.15), "mongojet": share(0.33)},
    figures={"mongokey": {"cpu": 15.0}, "pymongo": {"cpu": 100.0}, "mongojet": {"cpu": 45.0}},
)


def test_a_row_of_the_asyncio_table_has_both_loops() -> None:
    table = report.markdown(of("async", PING, UVLOOP))
    assert rows(table) == {
        "the ping": [
            "**0.20**", "0.19..0.22", "≤ 0.25", "25.00 µs", "128 µs", "12.3 ms", "0.45", "0.15",
            "0.33",
        ]
    }  # fmt: skip
    header, line = [each for each in table.splitlines() if each.startswith(("| operation", "|--"))]
    assert header.count("|") == line.count("|") == 11
    assert "mongokey 0.9 and pymongo 4.20 (C extension), mongojet 0.5, Python 3.11.7" in table
    assert "2026-11-30" in table


def test_a_target_that_is_missed_is_not_bold_and_one_that_is_not_there_is_empty() -> None:
    table = report.markdown(
        of(
            "async",
            {**PING, "ratios": {"pymongo": share(0.3)}},
            {**PING, "title": "the new", "name": "new", "target": None},
        )
    )
    missed, without = rows(table).values()
    assert missed[0] == "0.30"
    assert missed[6:] == ["", "", ""]  # no mongojet, no uvloop
    assert without[0] == "**0.20**"
    assert without[2] == ""


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_case_that_failed_on_one_loop_says_so_and_gives_no_figure_of_it(loop: str) -> None:
    cases = [PING, UVLOOP]
    cases = [{**case, "problems": ["4 of 5"]} if case["loop"] == loop else case for case in cases]
    table = report.markdown(of("async", *cases))
    lines = [line for line in table.splitlines() if line.startswith("| the ping")]
    failed = lines[0]
    assert "failed: 4 of 5" in failed
    assert failed.count("|") == 11
    if loop == "asyncio":
        assert lines == [failed]
    else:
        assert rows(lines[1])["the ping"][-2:] == ["", ""]


def test_each_face_has_its_place_in_a_file(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    marks = [each for pair in report.MARKS.values() for each in pair]
    page.write_text("a\n{}\nold\n{}\nb\n{}\nold\n{}\nc\n".format(*marks))
    report.put_into(page, "NEW", "async")
    assert page.read_text() == "a\n{}\nold\n{}\nb\n{}\nNEW\n{}\nc\n".format(*marks)
    report.put_into(page, "TABLE")
    assert page.read_text() == "a\n{}\nTABLE\n{}\nb\n{}\nNEW\n{}\nc\n".format(*marks)
    page.write_text("nothing")
    with pytest.raises(ValueError, match="bench async"):
        report.put_into(page, "NEW", "async")


def test_the_command_puts_the_asyncio_table_where_it_belongs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    source, page = tmp_path / "compare.json", tmp_path / "README.md"
    source.write_text(json.dumps(of("async", PING)))
    page.write_text("<!-- bench async -->\n<!-- /bench async -->\n")
    monkeypatch.setattr("sys.argv", ["report", "--from", str(source), "--into", str(page)])
    assert report.main() == 0
    assert rows(page.read_text())["the ping"][0] == "**0.20**"
