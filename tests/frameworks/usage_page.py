"""The recipe of docs/frameworks.md for the framework that PAGE_SECTION names, in a process of its
own: on mongokey as it stands there; on PyMongo without the lines that put mongokey in its place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pymongo
import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "frameworks.md"
LINES = "import mongokey\n\nmongokey.install_as_pymongo()\n\n"


@pytest.fixture
def recipe():
    name = os.environ["PAGE_SECTION"]
    (section,) = re.findall(
        rf"^### {re.escape(name)}\n(.*?)^##", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    (code,) = re.findall(r"^```python framework\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert code.startswith(LINES)
    return code


def test_the_recipe_prints_what_it_says(recipe):
    promised = re.findall(r"^ *print\(.*\)  # (.*)$", recipe, re.MULTILINE)
    assert promised
    on_mongokey = pymongo.MongoClient.__module__.startswith("mongokey")
    code = recipe if on_mongokey else recipe.removeprefix(LINES)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.splitlines() == promised
