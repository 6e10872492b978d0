"""Every row of the list of symptoms has a test that produces it and is about its code."""

from __future__ import annotations

import ast
import functools
from pathlib import Path
from typing import NamedTuple

import pytest

from mongokey.diagnostics import TABLE

TESTS = Path(__file__).resolve().parents[1]
# What the project promises: so many rows by something real, and not by a string alone.
PROMISED = 45
ALL = 58


class Row(NamedTuple):
    """One line of the page."""

    number: int
    symptom: str
    code: str
    confidence: str
    by: str
    file: str
    test: str


def read_rows() -> list[Row]:
    rows = []
    for line in (TESTS / "diagnosed_rows.md").read_text("utf-8").splitlines():
        cells = [each.strip() for each in line.strip("|").split("|")]
        if len(cells) == 6 and cells[0].isdigit():
            file, test = cells[5].replace("`", "").split()
            rows.append(Row(int(cells[0]), cells[1], cells[2].strip("`"), *cells[3:5], file, test))
    return rows


ROWS = read_rows()


@functools.cache
def functions_of(file: str) -> dict[str, ast.FunctionDef]:
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    return {each.name: each for each in tree.body if isinstance(each, ast.FunctionDef)}


def words_of(function: ast.FunctionDef) -> set[str]:
    """The strings in a test and its parameters."""
    return {
        node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number}-{row.code}")
def test_a_row_is_produced_by_the_test_that_is_named(row: Row) -> None:
    assert row.code in TABLE
    assert row.confidence in ("certain", "likely", "possible", "")
    functions = functions_of(row.file)
    assert row.test in functions, f"{row.file} has no {row.test}"
    function = functions[row.test]
    assert any(isinstance(node, ast.Assert) for node in ast.walk(function)) or "expect" in {
        node.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    words = words_of(function)
    assert any(row.code in word for word in words), f"{row.test} does not look for {row.code}"
    if row.confidence:
        assert row.confidence in words, f"{row.test} does not look for {row.confidence!r}"
        assert row.confidence in TABLE[row.code].sure


def test_every_row_is_there_and_enough_are_by_something_real() -> None:
    assert {row.number for row in ROWS} == set(range(1, ALL + 1))
    real = {row.number for row in ROWS if row.by != "string"}
    assert len(real) >= PROMISED
    assert all(row.by and row.symptom for row in ROWS)


def test_what_the_issue_asks_for_at_the_least_is_among_them() -> None:
    asked = [
        *("URI-UNESCAPED", "USERINFO-PLUS", "SECRET-BLANK", "SECRET-BRACKETS", "URI-QUOTED"),
        *("URI-CUT", "AUTH-SOURCE-FROM-PATH", "AUTH-PASSWORD-WRONG", "AUTH-USER-UNKNOWN"),
        *("AUTH-MECHANISM-OFF", "AUTH-MECHANISM-OTHER", "AUTH-CHANGED", "TLS-NEEDED"),
        *("TLS-NOT-SPOKEN", "TLS-NO-AUTHORITIES", "TLS-AUTHORITY-UNKNOWN", "TLS-PROXY"),
        *("TLS-HOST-NAME", "TLS-CERTIFICATE-EXPIRED", "TLS-CERTIFICATE-NOT-YET-VALID"),
        *("TLS-CLIENT-CERTIFICATE-MISSING", "X509-AUTHORITY", "X509-USER-UNKNOWN"),
        *("TLS-KEY-MISSING", "TLS-KEY-ENCRYPTED", "TLS-KEY-OTHER", "TLS-KEY-FORMAT"),
        *("TLS-KEY-ORDER", "TLS-ACCESS-LIST", "TOPOLOGY-ATLAS-SQL", "DNS-NXDOMAIN"),
        *("DNS-ADDRESS-ONLY", "DNS-SRV-ONLY", "DNS-TCP-ONLY", "DNS-TXT-OPTION", "DNS-TIMEOUT"),
        *("TCP-REFUSED", "TCP-CONTAINER-LOCALHOST", "TCP-TIMEOUT", "TCP-ONE-FAMILY"),
        *("TOPOLOGY-SET-NAME", "TOPOLOGY-UNINITIATED", "TOPOLOGY-MEMBER-NAMES"),
        *("TOPOLOGY-MEMBERS-UNREACHABLE", "TOPOLOGY-NO-PRIMARY", "TOPOLOGY-SERVER-OLD"),
        *("KRB-NO-TICKET", "KRB-TICKET-EXPIRED", "KRB-SERVICE-UNKNOWN", "KRB-CLOCK-SKEW"),
        *("KRB-PACKAGE-MISSING", "AWS-NO-BOTO3", "ENV-BSON-PACKAGE", "AWS-IDENTITY-UNKNOWN"),
        *("AWS-NO-CREDENTIALS", "AWS-TOKEN-EXPIRED", "AWS-CLOCK-SKEW", "OIDC-CLAIMS"),
        *("OIDC-EXPIRED", "AUTH-NO-ROLE", "ENV-MANY-CLIENTS", "ENV-FORK"),
    ]
    assert sorted(set(asked) - {row.code for row in ROWS}) == []
