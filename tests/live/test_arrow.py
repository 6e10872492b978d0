"""PyMongoArrow on mongokey's collections: the example of docs/arrow.md, and reading beside an
installed PyMongo. Its tests need PyMongoArrow, which no extra installs."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymongo.driver_info
import pytest

from mongokey import MongoClient
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

PAGE = Path(__file__).resolve().parents[2] / "docs" / "arrow.md"
USER = {"createUser": "lovelace", "pwd": "secret", "roles": [{"role": "root", "db": "admin"}]}
needs_arrow = pytest.mark.skipif(
    importlib.util.find_spec("pymongoarrow") is None,
    reason="pymongoarrow is not installed: pip install pymongoarrow",
)

BESIDE_PYMONGO = """
import mongokey
from pymongoarrow import api
with mongokey.MongoClient("mongodb://ada:secret@localhost:27017/") as client:
    sights = client.app.sights
    sights.insert_many([{"_id": n, "height": n / 2} for n in range(1000)])
    schema = api.Schema({"_id": int, "height": float})
    for kind in ("arrow", "pandas", "polars", "numpy"):
        try:
            find = getattr(api, f"find_{kind}_all")
            aggregate = getattr(api, f"aggregate_{kind}_all")
            found = find(sights, {"_id": {"$lt": 10}}, schema=schema)
            assert list(found["height"])[3] in (1.5, __import__("pyarrow").scalar(1.5)), found
            found = aggregate(sights, [{"$match": {"_id": {"$lt": 7}}}], schema=schema)
            assert len(found["_id"]) == 7, found
        except (ImportError, ValueError) as error:
            assert kind in str(error).lower(), error  # pandas or Polars is not installed
    print("all read")
"""


@pytest.fixture
def address(secantus: SecantusServer) -> Iterator[str]:
    assert secantus.command("admin", USER)["ok"] == 1
    yield f"lovelace:secret@{secantus.host}:{secantus.port}"
    secantus.command("admin", {"dropUser": "lovelace"})
    secantus.drop_database("app")


def run(code: str, address: str) -> str:
    code = code.replace("ada:secret@localhost:27017", address)
    command = [sys.executable, "-W", "ignore", "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@needs_arrow
def test_the_example_prints_what_it_says(address: str) -> None:
    pattern = r"<!-- example -->\n```python no-run\n(.*?)```"
    (code,) = re.findall(pattern, PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert run(code, address).splitlines() == re.findall(r"print\(.*\)  # (.*)", code)


@needs_arrow
def test_tables_are_read_beside_an_installed_pymongo(address: str) -> None:
    assert run(BESIDE_PYMONGO, address) == "all read\n"


def test_a_library_may_say_what_it_is_by_pymongos_class(secantus: SecantusServer) -> None:
    info = pymongo.driver_info.DriverInfo("PyMongoArrow", "1.2.3", "somewhere")
    with MongoClient(secantus.uri("both")) as client:
        client.append_metadata(info)
        client.admin.command("ping")
        document = client._context.settings().metadata.document
        with pytest.raises(TypeError, match="driver_info must be a DriverInfo"):
            client.append_metadata(("PyMongoArrow", "1.2.3", "somewhere"))
    assert document["driver"]["name"].endswith("|PyMongoArrow")
    assert document["driver"]["version"].endswith("|1.2.3")
