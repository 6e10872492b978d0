"""PyMongo's blocking API over an asyncio client: for tests that run on both faces unchanged.

It knows the names of the asyncio classes, PyMongo's and ours, and how they differ from the
blocking ones. It has no list of methods: what a client, database, collection or cursor has is
asked of the object, in its loop. Must not know what the tests do.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Callable
from typing import Any

from tests.faces.loop_thread import LoopThread

#: What the loops of all clients complained about; the plugin looks through it after each test.
COMPLAINTS: list[str] = []
#: By the name of an asyncio class, the class that wraps it.
_KINDS: dict[str, type[Wrapped]] = {}
#: Parts of our client that tests look into: what they do belongs in the loop too.
_PARTS = frozenset({"AsyncPool", "Topology", "AsyncExecutor", "LoopMonitors"})


class Wrapped:
    """An object that belongs to a loop, for threads outside of it.

    Attributes are read and methods called in the loop; awaitables are waited for. What comes back
    is wrapped where it belongs to the loop as well.
    """

    def __init__(self, inner: Any, root: WrappedClient) -> None:
        vars(self).update(_inner=inner, _root=root)

    @property
    def _loop(self) -> LoopThread:
        return self._root._loop_thread  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        if name in ("_inner", "_root", "_loop_thread") or (
            name.startswith("__") and name.endswith("__")
        ):
            raise AttributeError(name)
        inner = self._inner
        if _is_routine(type(inner), name):
            return self._method(getattr(inner, name))
        value = self._loop.call(lambda: getattr(inner, name))
        return self._method(value) if inspect.isroutine(value) else self._wrap(value)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._inner, name, value)

    def _method(self, bound: Callable[..., Any]) -> Callable[..., Any]:
        def method(*args: Any, **kwargs: Any) -> Any:
            given = [unwrapped(each) for each in args]
            named = {name: unwrapped(each) for name, each in kwargs.items()}
            return self._wrap(self._loop.call(lambda: bound(*given, **named)))

        return method

    def _wrap(self, value: Any) -> Any:
        if value is self._inner:
            return self
        if value is self._root._inner:
            return self._root
        for each in type(value).__mro__:
            if each.__name__ in _KINDS:
                return _KINDS[each.__name__](value, self._root)
            if each.__name__ in _PARTS:
                return Wrapped(value, self._root)
        return value

    def __eq__(self, other: object) -> Any:
        return self._inner == unwrapped(other)

    def __hash__(self) -> int:
        return hash(self._inner)

    def __repr__(self) -> str:
        return repr(self._inner)

    def __bool__(self) -> bool:
        return bool(self._inner)

    def __getitem__(self, key: Any) -> Any:
        inner = self._inner
        return self._wrap(self._loop.call(lambda: inner[key]))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._method(self._inner)(*args, **kwargs)

    def __iter__(self) -> Any:
        return iter(self._inner)

    def __next__(self) -> Any:
        return next(self._inner)


class WrappedClient(Wrapped):
    """A client, with a loop of its own. `async_class` is set by `client_class`."""

    async_class: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        loop_thread = LoopThread(COMPLAINTS)
        vars(self).update(_inner=None, _loop_thread=loop_thread)
        # Not in the loop: programs make their client before they run one.
        vars(self)["_inner"] = self.async_class(*args, **kwargs)
        loop_thread.end_with(self)
        later = kwargs.get("connect") is False or "AWS_EXECUTION_ENV" in os.environ
        options = getattr(self._inner, "options", None)
        if getattr(options, "needs_dns", False) and not later:
            # A constructor cannot await what DNS says: here the blocking one's waits for it.
            try:
                self._loop.call(self._inner.aconnect)
            except BaseException:
                self.close()
                raise

    def __class_getitem__(cls, document_class: Any) -> Any:
        return cls

    @property
    def _root(self) -> WrappedClient:  # type: ignore[override]
        # No attribute: a client that refers to itself is not gone at once.
        return self

    def __enter__(self) -> WrappedClient:
        self._loop.call(self._inner.__aenter__)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._end(lambda: self._inner.__aexit__(*exc))

    def close(self) -> None:
        self._end(self._inner.close)

    def _end(self, close: Callable[[], Any]) -> None:
        try:
            self._loop.call(close)
        finally:
            self._loop.close()


class WrappedConnection(Wrapped):
    """A connection that no client has, with a loop of its own until it is closed."""

    def __init__(self, inner: Any, loop_thread: LoopThread) -> None:
        vars(self).update(_inner=inner, _loop_thread=loop_thread)
        loop_thread.end_with(self)

    @property
    def _root(self) -> Any:  # type: ignore[override]
        return self

    def close(self) -> None:
        self._loop.call(self._inner.close)
        self._loop.close()


class WrappedDatabase(Wrapped):
    """A database."""


class WrappedCollection(Wrapped):
    """A collection."""


class WrappedSession(Wrapped):
    """A session: a context manager."""

    def __enter__(self) -> Any:
        self._loop.call(self._inner.__aenter__)
        return self

    def __exit__(self, *exc: Any) -> None:
        self._loop.call(lambda: self._inner.__aexit__(*exc))


class WrappedClientSession(WrappedSession):
    """A session; the callback of a transaction runs in a thread, and uses the blocking API."""

    def with_transaction(self, callback: Callable[[Any], Any], *args: Any, **kwargs: Any) -> Any:
        async def awaited(session: Any) -> Any:
            return await asyncio.to_thread(callback, self)

        given = [unwrapped(each) for each in args]
        return self._loop.call(lambda: self._inner.with_transaction(awaited, *given, **kwargs))


class WrappedCursor(WrappedSession):
    """A cursor of `find`: an iterator, a context manager, and a copy of itself when cloned."""

    def __iter__(self) -> Any:
        return self

    def __next__(self) -> Any:
        try:
            return self._loop.call(self._inner.__anext__)
        except StopAsyncIteration as end:
            raise StopIteration(*end.args) from None

    def next(self) -> Any:
        try:
            return self._loop.call(self._inner.next)
        except StopAsyncIteration as end:
            raise StopIteration(*end.args) from None

    def __copy__(self) -> Any:
        return self._wrap(self._loop.call(self._inner.__copy__))

    def __deepcopy__(self, memo: Any) -> Any:
        return self._wrap(self._loop.call(lambda: self._inner.__deepcopy__(memo)))


class WrappedCommandCursor(WrappedCursor):
    """A cursor of a command."""


class WrappedChangeStream(WrappedCursor):
    """A change stream."""


class WrappedFile(WrappedCursor):
    """A file of GridFS: an iterator over its lines, a context manager."""


class WrappedFileCursor(WrappedCursor):
    """A cursor of files, which belong to the loop as well."""

    def __next__(self) -> Any:
        return self._wrap(super().__next__())

    def next(self) -> Any:
        return self._wrap(super().next())

    def to_list(self, *args: Any) -> Any:
        found = self._loop.call(lambda: self._inner.to_list(*args))
        return [self._wrap(each) for each in found]


_KINDS.update(
    AsyncGridFS=Wrapped,
    AsyncGridFSBucket=Wrapped,
    AsyncGridIn=WrappedSession,
    AsyncGridOut=WrappedFile,
    AsyncGridOutCursor=WrappedFileCursor,
    AsyncChangeStream=WrappedChangeStream,
    AsyncDatabase=WrappedDatabase,
    AsyncCollection=WrappedCollection,
    AsyncCursor=WrappedCursor,
    AsyncCommandCursor=WrappedCommandCursor,
    AsyncClientEncryption=WrappedSession,
    AsyncClientSession=WrappedClientSession,
    AsyncBoundSession=WrappedSession,
    AsyncTransactionContext=WrappedSession,
)


def client_class(of: Any) -> Any:
    """The blocking `MongoClient` over an asyncio one."""
    return type(of.__name__.removeprefix("Async"), (WrappedClient,), {"async_class": of})


def made_of(cls: Any, owner: Any, *args: Any, **kwargs: Any) -> Any:
    """An object of an asyncio class that takes a database or collection, wrapped as that is."""
    if not isinstance(owner, Wrapped):
        return cls(owner, *args, **kwargs)
    return owner._method(cls)(owner, *args, **kwargs)


def open_connection(*args: Any, **kwargs: Any) -> tuple[WrappedConnection, Any]:
    """`connection.establish.open_connection`, over the one of asyncio."""
    from mongokey.connection import establish_aio

    loop_thread = LoopThread(COMPLAINTS)
    try:
        inner, result = loop_thread.call(lambda: establish_aio.open_connection(*args, **kwargs))
    except BaseException:
        loop_thread.close()
        raise
    return WrappedConnection(inner, loop_thread), result


def unwrapped(value: Any) -> Any:
    """The object of the loop that is wrapped, or anything else as it is."""
    return value._inner if isinstance(value, Wrapped) else value


def _is_routine(cls: type, name: str) -> bool:
    found = inspect.getattr_static(cls, name, None)
    return inspect.isroutine(found) or type(found).__name__ == "cython_function_or_method"
