"""The examples of docs/asyncio.md that need more than a server: FastAPI's lifespan, in a running
application, and the fixture, in a pytest run of its own."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mongokey.errors import OperationFailure
from tests.servers.needs import need_module
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live

PAGE = Path(__file__).resolve().parents[2] / "docs" / "asyncio.md"
USER = {"createUser": "grace", "pwd": "secret", "roles": [{"role": "root", "db": "admin"}]}


def example(name: str, secantus: SecantusServer) -> str:
    """The block of that name, for the server of the tests and its user."""
    (code,) = re.findall(rf"<!-- {name} -->\n```python no-run\n(.*?)```", PAGE.read_text(), re.S)
    address = f"{secantus.host}:{secantus.port}"
    made = code.replace("localhost:27017", address).replace("ada:secret", "grace:secret")
    assert made.count(f"grace:secret@{address}") == 1
    return str(made)


@pytest.fixture(autouse=True)
def grace(secantus: SecantusServer) -> Iterator[None]:
    assert secantus.command("admin", USER)["ok"] == 1
    yield
    secantus.command("admin", {"dropUser": "grace"})
    secantus.drop_database("app")


def application(secantus: SecantusServer) -> Any:
    namespace: dict[str, Any] = {"__name__": "main"}
    exec(compile(example("fastapi", secantus), str(PAGE), "exec"), namespace)
    return namespace["app"]


class Server:
    """What an ASGI server is to an application: it begins and ends its lifespan, and hands it
    requests."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> Server:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.lifespan = asyncio.create_task(
            self.app(scope, self.to_app.get, self.from_app.put)  # its whole life long
        )
        await self.says("startup")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.says("shutdown")
        await self.lifespan

    async def says(self, event: str) -> None:
        await self.to_app.put({"type": f"lifespan.{event}"})
        answer = await asyncio.wait_for(self.from_app.get(), 60)
        if answer["type"] != f"lifespan.{event}.complete":
            await self.lifespan
        assert answer["type"] == f"lifespan.{event}.complete", answer

    async def request(self, method: str, path: str, query: str = "") -> tuple[int, Any]:
        """Status and body of the answer."""
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [],
            "app": self.app,
        }
        await self.app(scope, receive, send)
        return sent[0]["status"], json.loads(b"".join(each.get("body", b"") for each in sent))


async def test_a_fastapi_application_has_a_client_for_its_lifespan(
    secantus: SecantusServer,
) -> None:
    need_module("fastapi", extra="test")
    app = application(secantus)
    for created in (True, False):
        async with Server(app) as server:
            put = await server.request("PUT", "/people/7", "name=Ada")
            assert put == (200, {"created": created})
            assert await server.request("GET", "/people/7") == (200, {"_id": 7, "name": "Ada"})
            requests = [server.request("GET", f"/people/{number}") for number in range(20)]
            statuses = [status for status, _ in await asyncio.gather(*requests)]
            assert statuses == [404] * 7 + [200] + [404] * 12
        assert app.state.database.client._executor.closed


async def test_an_application_does_not_start_with_a_wrong_password(
    secantus: SecantusServer,
) -> None:
    need_module("fastapi", extra="test")
    assert secantus.command("admin", {"updateUser": "grace", "pwd": "other"})["ok"] == 1
    with pytest.raises(OperationFailure) as failed:
        async with Server(application(secantus)):
            pass
    assert failed.value.code == 18


def test_a_fixture_for_tests(secantus: SecantusServer, tmp_path: Path) -> None:
    need_module("anyio", extra="test")
    (tmp_path / "test_people.py").write_text(example("pytest", secantus))
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "."],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout
