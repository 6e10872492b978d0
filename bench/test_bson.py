"""The instrument of `bench.bson`: what it reads, how it counts, and what it draws."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from typing import Any

import pytest

from bench import bson as instrument


def test_every_document_is_the_same_bytes_in_both_packages() -> None:
    import bson

    import mongokey.bson

    for name in instrument.DOCUMENTS:
        data = bson.encode(instrument.document("bson", name))
        assert mongokey.bson.encode(instrument.document("mongokey.bson", name)) == data


def test_a_ratio_is_how_many_times_as_fast() -> None:
    work = range(2000)
    row = instrument.compare("sum", "encode", 0, lambda: sum(work), lambda: sum(work), 9)
    assert 0.7 < row.ratio < 1.4
    assert row.low <= row.ratio <= row.high


@pytest.fixture
def report() -> dict[str, Any]:
    rows = [
        instrument.Row(name, kind, 10, 1.0, 4.0, 4.0, 3.5, 4.5)
        for name in instrument.DOCUMENTS
        for kind in ("encode", "decode")
    ]
    return {
        "date": "2026-01-01T00:00:00+00:00",
        "machine": {"cpu": "A & B <fast>", "cores": 2, "system": "Linux 6"},
        "versions": {"mongokey": "1", "pymongo": "4", "python": "3.11"},
        "rounds": 9,
        "rows": [asdict(row) for row in rows],
        "means": {"encode": 4.0, "decode": 4.0},
        "memory": {"tweet": {"mongokey": 2**20, "pymongo": 2**21}},
    }


def test_the_chart_is_xml_and_has_a_bar_for_each_row(report: dict[str, Any]) -> None:
    chart = ElementTree.fromstring(instrument.svg(report))
    bars = [e for e in chart.iter("{http://www.w3.org/2000/svg}rect") if e.get("height") == "14"]
    assert len(bars) == len(report["rows"])


def test_the_table_has_a_line_for_each_row_and_the_memory(report: dict[str, Any]) -> None:
    table = instrument.markdown(report)
    assert table.count("| **4.00** |") == len(report["rows"]) + 2
    assert "| tweet | 1.0 MB | 2.0 MB |" in table


def test_geometric_mean() -> None:
    assert instrument.geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
