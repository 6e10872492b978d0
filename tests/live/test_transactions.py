"""Money is moved between accounts while primaries fall: nothing of it is lost or made, and no move
is done twice.

Each move is a transaction of three writes: two balances and an entry in a ledger, whose id is
chosen before the first attempt. `MONGOKEY_MOVES` lets it go on for longer than its 60 moves.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pymongo import MongoClient as Auditor

from mongokey import AsyncMongoClient, MongoClient
from mongokey.bson.objectid import ObjectId
from tests.servers.fleet import Fleet
from tests.servers.secantus import SecantusServer

pytestmark = [pytest.mark.live, pytest.mark.slow]

ACCOUNTS, WORKERS, START = 24, 8, 100
MOVES = int(os.environ.get("MONGOKEY_MOVES", "60"))
#: A fault after so many moves.
PERIOD = max(1, MOVES // 6)
OPTIONS = {"replicaSet": "fleet", "heartbeatFrequencyMS": 500, "serverSelectionTimeoutMS": 30_000}
PATIENCE = 120.0


class Bank:
    """The accounts, as somebody sees them who has no part in the moves; and the moves that were
    done."""

    def __init__(self, fleet: Fleet, database: str) -> None:
        self.fleet = fleet
        self.name = database
        self.done: list[ObjectId] = []
        self.attempts = 0
        self.errors: list[BaseException] = []
        self._changed = threading.Condition()
        self._auditor: Any = Auditor(fleet.uri(), replicaSet="fleet")
        self.database = self._auditor[database]
        self.database.accounts.insert_many([{"_id": n, "money": START} for n in range(ACCOUNTS)])
        self.database.create_collection("ledger")

    def move(self) -> tuple[ObjectId, int, int, int]:
        """The next move: its id, from whom, to whom, how much."""
        one, other = random.sample(range(ACCOUNTS), 2)
        return ObjectId(), one, other, random.randint(1, 30)

    def note(self, move: ObjectId) -> bool:
        """A move was done; whether more are wanted."""
        with self._changed:
            self.done.append(move)
            self._changed.notify_all()
            return len(self.done) < MOVES

    def failed(self, error: BaseException) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def bring_down_primaries(self) -> None:
        """A fault each time that some more moves are done."""
        faults = [self._step_down, self._kill, self._elect]
        for number, count in enumerate(range(PERIOD, MOVES, PERIOD)):
            with self._changed:
                assert self._changed.wait_for(
                    lambda count=count: len(self.done) >= count or self.errors,  # type: ignore[misc]
                    PATIENCE,
                ), "no move is done any more"
            if self.errors:
                return
            faults[number % len(faults)]()
            assert self.fleet.wait_for(lambda: self.fleet.primary is not None)

    def _step_down(self) -> None:
        self.fleet.step_down()

    def _kill(self) -> None:
        primary = self.fleet.primary
        assert primary is not None
        self.fleet.kill(primary)
        self.fleet.restart(primary)

    def _elect(self) -> None:
        self.fleet.elect()

    def check(self) -> None:
        """What is there is what was done."""
        assert self.errors == []
        accounts = {each["_id"]: each["money"] for each in self.database.accounts.find()}
        ledger = list(self.database.ledger.find())
        assert sum(accounts.values()) == ACCOUNTS * START
        assert sorted(each["_id"] for each in ledger) == sorted(map(_theirs, self.done))
        expected = dict.fromkeys(range(ACCOUNTS), START)
        for entry in ledger:
            expected[entry["from"]] -= entry["money"]
            expected[entry["to"]] += entry["money"]
        assert accounts == expected
        assert min(accounts.values()) >= 0
        # Some were interrupted, or none of this shows anything.
        assert self.attempts > len(self.done)

    def close(self) -> None:
        self._auditor.drop_database(self.name)
        self._auditor.close()


def _theirs(identifier: ObjectId) -> Any:
    from bson import ObjectId as Theirs

    return Theirs(identifier.binary)


@pytest.fixture
def bank(open_secantus: SecantusServer, database_name: str) -> Iterator[Bank]:
    with Fleet(open_secantus, 3, election_ms=200) as fleet:
        made = Bank(fleet, database_name)
        yield made
        made.close()


def test_threads_move_money_while_primaries_fall(bank: Bank) -> None:
    with MongoClient(bank.fleet.uri(), **OPTIONS) as client:
        accounts, ledger = client[bank.name].accounts, client[bank.name].ledger

        def move(session: Any, identifier: ObjectId, one: int, other: int, money: int) -> None:
            bank.attempts += 1
            found = accounts.find_one({"_id": one}, session=session)
            assert found is not None
            money = min(money, found["money"])
            accounts.update_one({"_id": one}, {"$inc": {"money": -money}}, session=session)
            accounts.update_one({"_id": other}, {"$inc": {"money": money}}, session=session)
            entry = {"_id": identifier, "from": one, "to": other, "money": money}
            ledger.insert_one(entry, session=session)

        def work() -> None:
            try:
                with client.start_session() as session:
                    more = True
                    while more and not bank.errors:
                        this = bank.move()
                        session.with_transaction(lambda session, this=this: move(session, *this))  # type: ignore[misc]
                        more = bank.note(this[0])
            except BaseException as error:
                bank.failed(error)
                raise

        threads = [threading.Thread(target=work, name=f"mover {n}") for n in range(WORKERS)]
        for each in threads:
            each.start()
        try:
            bank.bring_down_primaries()
        finally:
            for each in threads:
                each.join(PATIENCE)
        assert not any(each.is_alive() for each in threads)
    bank.check()


def test_tasks_move_money_while_primaries_fall(bank: Bank) -> None:
    async def work(client: AsyncMongoClient[Any]) -> None:
        accounts, ledger = client[bank.name].accounts, client[bank.name].ledger

        async def move(
            session: Any, identifier: ObjectId, one: int, other: int, money: int
        ) -> None:
            bank.attempts += 1
            found = await accounts.find_one({"_id": one}, session=session)
            assert found is not None
            money = min(money, found["money"])
            await accounts.update_one({"_id": one}, {"$inc": {"money": -money}}, session=session)
            await accounts.update_one({"_id": other}, {"$inc": {"money": money}}, session=session)
            entry = {"_id": identifier, "from": one, "to": other, "money": money}
            await ledger.insert_one(entry, session=session)

        try:
            async with client.start_session() as session:
                more = True
                while more and not bank.errors:
                    this = bank.move()
                    await session.with_transaction(lambda session, this=this: move(session, *this))  # type: ignore[misc]
                    more = bank.note(this[0])
        except BaseException as error:
            bank.failed(error)
            raise

    async def main() -> None:
        async with AsyncMongoClient(bank.fleet.uri(), **OPTIONS) as client:
            faults = asyncio.to_thread(bank.bring_down_primaries)
            await asyncio.gather(faults, *(work(client) for _ in range(WORKERS)))

    asyncio.run(main())
    bank.check()
