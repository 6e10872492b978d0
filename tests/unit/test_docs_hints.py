"""Every code word that a hint or finding can carry stands in a guide, so that it can be looked up.

The words are read from the sources: string constants of their form.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "mongokey"
WORD = re.compile(r"(AUTH|AWS|KRB|LDAP|OIDC|X509)(-[A-Z0-9]+)+")


def words() -> list[str]:
    """All words, sorted."""
    found = set()
    for package in ("auth", "cli"):
        for path in (SOURCES / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    match = WORD.fullmatch(node.value)
                    if match:
                        found.add(node.value)
    return sorted(found)


def test_words_are_found() -> None:
    assert {"AUTH-PASSWORD-WRONG", "KRB-NO-TICKET"} <= set(words())


@pytest.mark.parametrize("word", words())
def test_each_word_stands_in_a_guide(word: str) -> None:
    pages = [p for p in (ROOT / "docs").glob("*.md") if f"`{word}`" in p.read_text("utf-8")]
    assert pages, f"{word} is in no page of docs/"
