"""The blocking API over an asyncio client, which tests on both faces use: proved with PyMongo's
asyncio client, whose behaviour is known."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import gc
import os
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from pymongo.errors import DuplicateKeyError, InvalidOperation

from tests.faces import loop_thread, wrapper
from tests.faces.loop_thread import LoopThread
from tests.faces.plugin import replaced
from tests.servers.secantus import SecantusServer
from tests.threads import in_threads

pytestmark = pytest.mark.live
Client = wrapper.client_class(pymongo.AsyncMongoClient)


@pytest.fixture
def client(open_secantus: SecantusServer) -> Iterator[Any]:
    with Client(open_secantus.uri(None)) as client:
        yield client


@pytest.fixture
def things(client: Any) -> Iterator[Any]:
    collection = client["test_asyncio_wrapper"]["things"]
    collection.insert_many([{"_id": number} for number in range(10)])
    yield collection
    collection.drop()


def test_methods_wait_and_give_what_they_come_to(client: Any, things: Any) -> None:
    assert client.admin.command("ping")["ok"] == 1
    assert things.find_one({"_id": 3}) == {"_id": 3}
    assert things.insert_one({"_id": "new"}).inserted_id == "new"
    assert things.count_documents({}) == 11


def test_what_belongs_to_the_loop_comes_back_wrapped(client: Any, things: Any) -> None:
    database = things.database
    assert type(database) is type(client["x"]) is type(client.x) is wrapper.WrappedDatabase
    assert type(things) is type(database.things) is type(things.sub) is wrapper.WrappedCollection
    assert type(things.find()) is wrapper.WrappedCursor
    assert type(things.aggregate([])) is wrapper.WrappedCommandCursor
    assert database.client is client
    assert (things == database["things"], things == database["others"]) == (True, False)
    assert hash(things) == hash(database["things"])
    assert things.sub.name == "things.sub"


def test_wrapped_arguments_are_unwrapped(things: Any) -> None:
    things.database.drop_collection(things)
    assert things.count_documents({}) == 0


def test_attributes_that_are_coroutines_are_waited_for(client: Any) -> None:
    assert client.address == client.primary
    assert client.options.pool_options.max_pool_size == 100


def test_cursors_are_iterators(things: Any) -> None:
    assert [each["_id"] for each in things.find(batch_size=3)] == list(range(10))
    cursor = things.find().sort("_id", -1).limit(2)
    assert isinstance(cursor, wrapper.WrappedCursor)
    assert (next(cursor), cursor.next()) == ({"_id": 9}, {"_id": 8})
    for end in (cursor.next, cursor.__next__):
        with pytest.raises(StopIteration):
            end()
    assert cursor.rewind() is cursor
    assert len(cursor.to_list()) == 2
    with things.find(batch_size=1) as cursor:
        next(cursor)
        clones = [cursor.clone(), copy.copy(cursor), copy.deepcopy(cursor)]
    assert not cursor.alive
    assert [len(list(each)) for each in clones] == [10, 10, 10]
    assert len(list(things.aggregate([{"$match": {"_id": {"$gt": 7}}}]))) == 2


def test_truth_calls_and_iteration_are_refused_as_the_object_does(client: Any) -> None:
    for each in (client["x"], client["x"]["y"]):
        with pytest.raises(NotImplementedError):
            bool(each)
        with pytest.raises(TypeError):
            iter(each)
        with pytest.raises(TypeError):
            each()
    with pytest.raises(AttributeError, match="_no_such_thing"):
        client["x"]._no_such_thing  # noqa: B018


def test_an_error_is_raised_here_with_both_tracebacks(things: Any) -> None:
    with pytest.raises(DuplicateKeyError) as caught:
        things.insert_one({"_id": 1})
    functions = [frame.name for frame in traceback.extract_tb(caught.tb)]
    assert functions[0] == "test_an_error_is_raised_here_with_both_tracebacks"
    assert "insert_one" in functions
    assert caught.value.code == 11000


def test_an_error_is_gone_without_the_garbage_collector() -> None:
    class Gone(Exception):
        pass

    async def fail() -> None:
        raise Gone

    def use() -> weakref.ref[Gone]:
        try:
            loop.call(fail)
        except Gone as error:
            return weakref.ref(error)
        raise AssertionError("no error")

    loop = LoopThread([])
    gc.disable()
    try:
        reference = use()
        deadline = time.monotonic() + 5
        while reference() is not None and time.monotonic() < deadline:
            loop.call(lambda: None)  # the loop lets go of a task at its next turn
        assert reference() is None
    finally:
        gc.enable()
        loop.close()


def test_calls_of_many_threads_run_at_once(things: Any) -> None:
    meeting = asyncio.Barrier(8) if hasattr(asyncio, "Barrier") else None

    async def meet() -> None:
        if meeting is not None:
            await meeting.wait()

    def work() -> Any:
        things._loop.call(meet)
        return things.find_one({"_id": 5})

    assert in_threads(8, work) == [{"_id": 5}] * 8


def test_a_call_has_the_context_of_the_thread_that_makes_it() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)

    async def read() -> int:
        return variable.get()

    loop = LoopThread([])
    variable.set(7)
    assert loop.call(read) == 7
    loop.close()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
def test_ctrl_c_cancels_the_call() -> None:
    begun, cancelled = threading.Event(), threading.Event()

    async def forever() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    def interrupt() -> None:
        begun.wait(10)
        time.sleep(0.1)  # until the main thread waits
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident
    assert main is not None
    loop = LoopThread([])
    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop.call(forever)
    thread.join()
    assert cancelled.is_set()
    assert loop.call(lambda: "works") == "works"
    loop.close()
    assert loop.complaints == []


def test_what_a_call_raises_never_ends_the_loop() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    loop = LoopThread([])
    with pytest.raises(KeyboardInterrupt):
        loop.call(interrupt)
    with pytest.raises(asyncio.CancelledError):
        loop.call(_cancelled)
    assert loop.call(lambda: 1) == 1
    loop.close()


async def _cancelled() -> None:
    raise asyncio.CancelledError


def test_a_call_that_does_not_end_is_told_with_where_it_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop_thread, "PATIENCE_S", 0.1)

    async def waits_for_ever() -> None:
        await asyncio.sleep(600)

    loop = LoopThread([])
    with pytest.raises(AssertionError, match="waits_for_ever"):
        loop.call(waits_for_ever)
    loop.close()
    assert loop.complaints == []


def test_a_call_from_the_loop_itself_is_refused() -> None:
    loop = LoopThread([])
    with pytest.raises(RuntimeError, match="from the loop itself"):
        loop.call(lambda: loop.call(lambda: None))
    loop.close()


def test_a_client_that_is_closed_says_so(open_secantus: SecantusServer) -> None:
    client = Client(open_secantus.uri(None))
    client.admin.command("ping")
    client.close()
    # PyMongo notices first that this is another loop.
    with pytest.raises((InvalidOperation, RuntimeError)):
        client.admin.command("ping")
    assert client.options.pool_options.max_pool_size == 100


def test_the_thread_ends_with_the_client(open_secantus: SecantusServer) -> None:
    client = Client(open_secantus.uri(None))
    client.admin.command("ping")
    thread = client._loop._thread
    assert thread.is_alive()
    client.close()
    assert not thread.is_alive()


class AsyncNothing:
    """A client that leaves something to its loop when it is garbage."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    async def begin(self) -> None:
        self.loop = asyncio.get_running_loop()

    def __del__(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.create_task, _finish(self.notes))


async def _finish(notes: list[str]) -> None:
    await asyncio.sleep(0.01)
    notes.append(threading.current_thread().name)


def test_the_thread_of_a_client_that_is_garbage_ends_when_nothing_is_left_to_do() -> None:
    notes: list[str] = []
    client = wrapper.client_class(AsyncNothing)(notes)
    client.begin()
    thread = client._loop._thread
    gc.disable()
    try:
        del client
        thread.join(20)
    finally:
        gc.enable()
    assert not thread.is_alive()
    assert notes == ["tests-loop"]


def test_what_the_loop_has_to_complain_of_is_kept() -> None:
    async def fail() -> None:
        raise ValueError("never retrieved")

    async def leave_a_task() -> None:
        keep.append(asyncio.ensure_future(asyncio.sleep(600)))

    def forget_an_error() -> None:
        asyncio.get_running_loop().create_task(fail())

    keep: list[Any] = []
    complaints: list[str] = []
    loop = LoopThread(complaints)
    loop.call(forget_an_error)
    loop.call(lambda: asyncio.sleep(0.01))
    gc.collect()
    loop.call(leave_a_task)
    loop.close(patience_s=0.05)
    first, second = complaints
    assert "never retrieved" in first
    assert "a task is left" in second
    assert "sleep" in second
    assert keep[0].cancelled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_has_a_loop_of_its_own() -> None:
    loop = LoopThread([])
    parents = loop.call(asyncio.get_running_loop)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            status = 0 if loop.call(asyncio.get_running_loop) is not parents else 2
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert loop.call(asyncio.get_running_loop) is parents
    loop.close()


def test_the_name_is_replaced_wherever_tests_have_it() -> None:
    import mongokey
    from tests import pools

    former = mongokey.MongoClient
    with replaced(Client):
        from mongokey import MongoClient

        assert MongoClient is mongokey.MongoClient is pools.MongoClient is Client
    assert mongokey.MongoClient is pools.MongoClient is former
