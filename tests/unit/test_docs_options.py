"""The option tables of docs/connection-strings.md: as the driver's own table, and all of it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from mongokey.cli import mistakes
from mongokey.dns import errors
from mongokey.options.table import OPTIONS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "connection-strings.md"


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    spec = importlib.util.spec_from_file_location("option_tables", DOCS / "option_tables.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tables_are_current(tables: ModuleType) -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert tables.written(page) == page, "run: python docs/option_tables.py"


def test_every_option_is_listed_once(tables: ModuleType) -> None:
    listed = [name for chapter in tables.CHAPTERS.values() for name in chapter]
    assert sorted(listed) == sorted(OPTIONS)


@pytest.mark.parametrize("module", [errors, mistakes])
def test_every_code_is_explained(module: ModuleType) -> None:
    assert module.__file__ is not None
    source = Path(module.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r'"((?:DNS|SRV|URI|OPTION|AUTH)(?:-[A-Z]+)+)"', source))
    assert len(codes) > 5
    page = PAGE.read_text(encoding="utf-8")
    assert {code for code in codes if f"`{code}`" not in page} == set()
