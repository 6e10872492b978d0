"""Ten thousand tasks on a hundred connections: every one gets its turn, the first first."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

from mongokey import AsyncMongoClient, monitoring
from tests.faces.cancelling import run
from tests.servers.scripted import Reply, Request, ScriptedServer, Silence

TASKS = 10_000
CONNECTIONS = 100


class Begun(monitoring.CommandListener):
    """The turns, in the order in which they got a connection."""

    def __init__(self) -> None:
        self.turns: list[int] = []

    def started(self, event: Any) -> None:
        if event.command_name == "turn":
            self.turns.append(event.command["turn"])

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


def echo(request: Request) -> Any:
    return Reply({"ok": 1.0, "turn": request.document["turn"]})


def test_ten_thousand_tasks_on_a_hundred_connections_are_served_in_turn() -> None:
    begun = Begun()

    async def main() -> None:
        async with AsyncMongoClient(
            server.uri(maxPoolSize=CONNECTIONS), event_listeners=[begun]
        ) as client:
            await client.admin.command("ping")
            threads = threading.active_count()
            tasks = [
                asyncio.ensure_future(client.admin.command("turn", number))
                for number in range(TASKS)
            ]
            await asyncio.sleep(0)
            pool = await client._pool()
            assert pool.waiting_count > TASKS / 2
            replies = await asyncio.gather(*tasks)
            assert [each["turn"] for each in replies] == list(range(TASKS))
            # The server has a thread for each connection, the client none at all.
            assert threading.active_count() - threads <= CONNECTIONS
            assert (pool.in_use, pool.waiting_count) == (0, 0)
            assert 1 <= server.used <= CONNECTIONS

    with ScriptedServer(on={"turn": echo}) as server:
        run(main)
    assert sorted(begun.turns) == list(range(TASKS))
    # Those who open a connection are overtaken by those who get one that is there; nobody else is.
    late = [turn for place, turn in enumerate(begun.turns) if place > turn + 2]
    assert len(late) <= CONNECTIONS


def test_tasks_that_use_the_client_again_and_again_share_it_evenly() -> None:
    done = [0] * 200

    async def work(client: Any, number: int, ends: float) -> None:
        while time.monotonic() < ends:
            await client.admin.command("ping")
            done[number] += 1

    async def main() -> None:
        async with AsyncMongoClient(server.uri(maxPoolSize=4)) as client:
            await client.admin.command("ping")
            ends = time.monotonic() + 1.5
            await asyncio.gather(*(work(client, number, ends) for number in range(len(done))))

    with ScriptedServer() as server:
        run(main)
    # Who has just had a connection goes to the end of the queue.
    assert min(done) >= max(done) - 10
    assert min(done) > 0


def test_thousands_of_tasks_that_are_cancelled_at_once_leave_the_pool_in_order() -> None:
    """Some in the middle of an exchange, some while their connection is made, most in the queue."""
    left = 50

    async def main() -> None:
        async with AsyncMongoClient(server.uri(maxPoolSize=CONNECTIONS)) as client:
            await client.admin.command("ping")
            pool = await client._pool()
            silent = [
                asyncio.ensure_future(client.admin.command("silence")) for _ in range(TASKS // 2)
            ]
            while pool.in_use < CONNECTIONS / 2 or pool.waiting_count < TASKS / 4:
                await asyncio.sleep(0.01)
            # Others have come later, and are not cancelled: each gets its connection.
            others = [asyncio.ensure_future(client.admin.command("ping")) for _ in range(left)]
            await asyncio.sleep(0)
            for task in silent:
                task.cancel()
            done = await asyncio.gather(*silent, return_exceptions=True)
            assert {type(each) for each in done} == {asyncio.CancelledError}
            assert [each["ok"] for each in await asyncio.gather(*others)] == [1.0] * left
            while pool.in_use or pool.connecting:
                await asyncio.sleep(0.01)
            assert pool.waiting_count == 0
            # What was in the middle of an exchange is closed.
            assert pool.idle_count <= CONNECTIONS
            assert (await client.admin.command("turn", 1))["turn"] == 1

    with ScriptedServer(on={"turn": echo, "silence": Silence()}) as server:
        run(main)
