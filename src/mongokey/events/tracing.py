"""Spans of OpenTelemetry (open-telemetry specification): one for each operation, within it one for
each command that is sent, and one around a transaction.

It is loaded for clients only that trace, and knows OpenTelemetry's API, not its SDK. An `Execution`
says when its operation begins and ends, and what becomes of its commands; the documents of those
are read here. What a tracer, a span processor or an exporter raises is printed, as listeners'
errors are, and goes no further. Must not know connections or servers.
"""

from __future__ import annotations

import os
import time
import warnings
from contextlib import suppress
from contextvars import ContextVar
from functools import wraps

from mongokey._support.lazy import imported_once
from mongokey._version import __version__
from mongokey.errors import ConfigurationError
from mongokey.events.documents import RawDocument, Walk
from mongokey.events.log_json import relaxed_json
from mongokey.events.publisher_base import print_error
from mongokey.events.redaction import is_sensitive

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from types import ModuleType
    from typing import Any, TypeVar

    from mongokey.events.command_publisher import CommandUnderWay

    _Result = TypeVar("_Result")
    _Method = TypeVar("_Method", bound=Callable[..., None])

ENABLED_VARIABLE = "OTEL_PYTHON_INSTRUMENTATION_MONGODB_ENABLED"
LENGTH_VARIABLE = "OTEL_PYTHON_INSTRUMENTATION_MONGODB_QUERY_TEXT_MAX_LENGTH"
_TRUE = frozenset({"1", "true", "yes"})

_SYSTEM = {"db.system.name": "mongodb"}
# "db.query.text": what of a command is not shown, as it is the driver's.
_ENVELOPE = frozenset({"lsid", "$db", "$clusterTime", "signature"})
# Operations that are called otherwise than their commands are.
_NAMES = {"create": "createCollection", "drop": "dropCollection"}
# Plans of several commands: what they are called, by the function that makes them. Others have the
# name of their first command.
_PLANS = {
    "bulk_write": "bulkWrite",
    "client_bulk_write": "bulkWrite",
    "create_collection": "createCollection",
    "insert_many": "insert",
}
# Commands, in lower case, whose first field is a collection's name.
_ON_COLLECTIONS = frozenset(
    {"aggregate", "clonecollectionascapped", "collmod", "collstats", "compact", "converttocapped"}
    | {"count", "create", "createindexes", "createsearchindexes", "datasize", "delete"}
    | {"deleteindexes", "distinct", "drop", "dropindexes", "dropsearchindex", "find"}
    | {"findandmodify", "geonear", "geosearch", "group", "insert", "killcursors", "listindexes"}
    | {"listsearchindexes", "mapreduce", "plancacheclear", "plancachelistfilters"}
    | {"plancacheclearfilters", "plancachesetfilter", "reindex", "update", "updatesearchindex"}
    | {"validate"}
)

# The operation that a plan of several commands belongs to, while it is carried out.
_PLAN: ContextVar[_Span | None] = ContextVar("mongokey_traced_plan", default=None)
# Whether OpenTelemetry is being called: what a span processor or an exporter does with a client is
# not traced, as that would never end.
_CALLING: ContextVar[bool] = ContextVar("mongokey_calling_tracer", default=False)


def _guarded(method: _Method) -> _Method:
    """Print what is raised by what OpenTelemetry calls, and let nothing of it be traced."""

    @wraps(method)
    def guarded(*args: Any, **kwargs: Any) -> None:
        token = _CALLING.set(True)
        try:
            method(*args, **kwargs)
        except Exception:
            print_error()
        finally:
            _CALLING.reset(token)

    return guarded  # type: ignore[return-value]


class Tracing:
    """What the spans of one client are made with.

    :param query_text_max_length: how many bytes of a command ``db.query.text`` has; 0: no such
        attribute
    :param tracer_provider: an OpenTelemetry ``TracerProvider``; None: the global one
    """

    def __init__(self, query_text_max_length: int = 0, tracer_provider: Any = None) -> None:
        self.query_text_max_length = query_text_max_length
        self._provider = tracer_provider
        self._tracer: Any = None
        self._api: ModuleType = imported_once("opentelemetry.trace")
        self._context: ModuleType = imported_once("opentelemetry.context")

    def begin(
        self, name: str, database: str, collection: str | None, generic: bool
    ) -> OperationTrace | None:
        """An operation begins whose command is `name`; `generic`: it is a user's own command. None
        where nothing is to be traced."""
        if self._is_suppressed():
            return None
        plan = _PLAN.get()
        if plan is not None and plan.tracing is self and not plan.is_over:
            plan.describe(name, database, collection)
            return OperationTrace(plan, False)
        shown = "runCommand" if generic else _NAMES.get(name, name)
        span = _Span(self, shown, database, collection)
        span.is_sensitive = is_sensitive(name)
        return OperationTrace(span, True)

    def plan(self, plan: Generator[Any, Any, _Result]) -> Generator[Any, Any, _Result]:
        """The same plan, whose operations are commands of one."""
        if self._is_suppressed() or _PLAN.get() is not None:
            return plan
        name = getattr(plan, "__name__", "")
        return _carried_out(_Span(self, _PLANS.get(name, "")), plan)

    def begin_transaction(self) -> TransactionTrace | None:
        """A transaction is started; None where nothing is to be traced."""
        if self._is_suppressed():
            return None
        return TransactionTrace(self)

    def _is_suppressed(self) -> bool:
        if _CALLING.get():
            return True
        context = self._context
        # Set by the SDK while spans are exported; it has no public name there.
        key = getattr(context, "_SUPPRESS_INSTRUMENTATION_KEY", "suppress_instrumentation")
        return bool(context.get_value(key) or context.get_value("suppress_instrumentation"))

    # -- OpenTelemetry ------------------------------------------------------------------------

    def current(self) -> Any:
        """The context that the caller is in."""
        return self._context.get_current()

    def is_in_span(self) -> bool:
        """Whether the caller is within a span that is recorded."""
        return bool(self._api.get_current_span().is_recording())

    def start(
        self, name: str, parent: Any, started_ns: int | None, attributes: Mapping[str, Any]
    ) -> tuple[Any, Any]:
        """A span that has begun, and the context of what happens in it."""
        if self._tracer is None:
            self._tracer = self._api.get_tracer("mongokey", __version__, self._provider)
        span = self._tracer.start_span(
            name,
            context=parent,
            kind=self._api.SpanKind.CLIENT,
            attributes=attributes,
            start_time=started_ns,
            record_exception=False,
            set_status_on_exception=False,
        )
        return span, self._api.set_span_in_context(span, parent)

    def fail(self, span: Any, error: BaseException, is_sensitive: bool) -> None:
        """Have a span say that `error` was raised, by its class alone if it may hold a secret."""
        if not span.is_recording():
            return
        kind = type(error)
        name = f"{kind.__module__}.{kind.__qualname__}"
        attributes = {"exception.type": name}
        if not is_sensitive:
            from traceback import format_exception

            attributes["exception.message"] = str(error)
            attributes["exception.stacktrace"] = "".join(format_exception(error))
        span.set_attributes(attributes)
        span.add_event("exception", attributes)
        self.mark_failed(span, kind.__name__)

    def mark_failed(self, span: Any, why: str) -> None:
        """Have a span's status say that it failed."""
        span.set_status(self._api.Status(self._api.StatusCode.ERROR, why))


class _Span:
    """The span of an operation. It is begun with its first command, or where there is none with its
    end, since until then more of it becomes known; as of when it began."""

    is_sensitive = False
    is_over = False

    def __init__(
        self, tracing: Tracing, name: str, database: str = "", collection: str | None = None
    ) -> None:
        self.tracing = tracing
        self.name = name
        self.database = database
        self.collection = collection
        self.parent = tracing.current()
        self.context: Any = None
        self.span: Any = None
        self._started_ns = time.time_ns()

    def describe(self, name: str, database: str, collection: str | None) -> None:
        """One of its operations has begun."""
        if not self.database:
            self.database = database
        self.name = self.name or _NAMES.get(name, name)
        if collection is not None and self.collection is None and self.span is None:
            self.collection = collection

    def begun(self) -> Any:
        """OpenTelemetry's span."""
        if self.span is None:
            summary, attributes = self._attributes()
            self.span, self.context = self.tracing.start(
                summary, self.parent, self._started_ns, attributes
            )
        return self.span

    def _attributes(self) -> tuple[str, dict[str, Any]]:
        attributes = _of_namespace(self.database, self.collection)
        summary = _summary(self.name, self.database, self.collection)
        attributes["db.operation.name"] = self.name
        attributes["db.operation.summary"] = summary
        return summary, attributes

    def name_collection(self, collection: str) -> None:
        """A command says which collection it is about."""
        if self.collection is not None:
            return
        self.collection = collection
        if self.span is not None and self.span.is_recording():
            summary, attributes = self._attributes()
            self.span.update_name(summary)
            self.span.set_attributes(attributes)

    @_guarded
    def over(self, error: BaseException | None) -> None:
        """The operation has ended, with `error` or well."""
        self.is_over = True
        span = self.begun()
        try:
            if error is not None:
                self.tracing.fail(span, error, self.is_sensitive)
        finally:
            span.end()


class OperationTrace:
    """What becomes of one execution: its `Execution` has it in place of a `CommandUnderWay`, from
    the beginning to the end of the operation, and tells it the same."""

    __slots__ = ("_command", "_is_all", "_span", "_under_way")

    #: It is there for all commands of the operation, and not for one.
    lasts = True

    def __init__(self, span: _Span, is_all: bool) -> None:
        self._span = span
        # Whether the execution is the operation, and not a part of a plan.
        self._is_all = is_all
        self._under_way: CommandUnderWay | None = None
        self._command: _Command | None = None

    def join(self, transaction: Any) -> None:
        """It is carried out in a session whose latest transaction this is."""
        traced = transaction.trace
        if (
            traced is not None
            and traced.context is not None
            and transaction.active
            and self._span.span is None
        ):
            self._span.parent = traced.context

    def started(
        self,
        under_way: CommandUnderWay,
        message: bytes,
        connection: Mapping[str, Any],
        background: bool,
    ) -> None:
        """`message`, a whole OP_MSG, is about to be sent. `connection` is what a span says of the
        connection; `background`: the command is for good order."""
        document = under_way.started(message)
        self._under_way = under_way
        self._end_command(None)
        # Beside the program, no call of the API is the reason; within a span, one is.
        if background and not self._span.tracing.is_in_span():
            return
        self._begin_command(document, connection)

    @_guarded
    def _begin_command(self, document: RawDocument | None, connection: Mapping[str, Any]) -> None:
        if document is None:
            self._span.is_sensitive = True
            self._span.begun()
            return
        seen = _Seen(document)
        if seen.collection is not None:
            self._span.name_collection(seen.collection)
        self._span.begun()
        self._command = _Command(self._span, document, seen, connection)

    def succeeded(self, reply: bytes | None) -> None:
        """The server's answer, in BSON, has ``ok: 1``; None if nobody asked for one."""
        under_way, self._under_way = self._under_way, None
        if self._command is not None:
            self._command.answered(reply)
            self._end_command(None)
        if under_way is not None:
            under_way.succeeded(reply)

    def refused(self, reply: bytes) -> None:
        """The server's answer, in BSON, is an error."""
        under_way, self._under_way = self._under_way, None
        if self._command is not None:
            # It is ended when the exception is there.
            self._command.refused(reply)
        if under_way is not None:
            under_way.refused(reply)

    def failed(self, error: BaseException) -> None:
        """An attempt has failed with `error`: perhaps the server's, told before."""
        under_way, self._under_way = self._under_way, None
        self._end_command(error)
        if under_way is not None:
            under_way.failed(error)

    def over(self, error: BaseException | None, background: bool) -> None:
        """The execution is over, with `error` or well."""
        if self._under_way is not None and error is not None:
            self.failed(error)
        self._end_command(None)
        # What was beside the program, and within no span, has none.
        if self._is_all and not (background and self._span.span is None):
            self._span.over(error)

    def _end_command(self, error: BaseException | None) -> None:
        command, self._command = self._command, None
        if command is not None:
            command.end(error)


class _Command:
    """The span of one command."""

    __slots__ = ("_end_ns", "_span", "_tracing")

    def __init__(
        self, operation: _Span, document: RawDocument, seen: _Seen, connection: Mapping[str, Any]
    ) -> None:
        tracing = self._tracing = operation.tracing
        attributes = _of_namespace(seen.database, seen.collection)
        attributes["db.command.name"] = document.name
        attributes["db.query.summary"] = _summary(document.name, seen.database, seen.collection)
        attributes.update(connection)
        attributes.update(seen.attributes)
        limit = tracing.query_text_max_length
        self._end_ns: int | None = None
        self._span, _ = tracing.start(document.name, operation.context, None, attributes)
        if limit and self._span.is_recording():
            text = relaxed_json(_Shown(document.raw, sections=document.sections), limit)
            self._span.set_attribute("db.query.text", text)

    @_guarded
    def answered(self, reply: bytes | None) -> None:
        """It was carried out."""
        if reply is None or not self._span.is_recording():
            return
        for name, value in RawDocument(reply).walk():
            if name == "cursor" and isinstance(value, Walk):
                for key, cursor_id in value:
                    if key == "id" and isinstance(cursor_id, int) and cursor_id:
                        self._span.set_attribute("db.mongodb.cursor_id", int(cursor_id))
                return

    @_guarded
    def refused(self, reply: bytes) -> None:
        """The server's answer is an error."""
        self._end_ns = time.time_ns()
        if not self._span.is_recording():
            return
        for name, value in RawDocument(reply).walk():
            if name == "code" and isinstance(value, int | float):
                self._span.set_attribute("db.response.status_code", str(int(value)))
            elif name == "codeName" and isinstance(value, str):
                self._tracing.mark_failed(self._span, value)

    @_guarded
    def end(self, error: BaseException | None) -> None:
        """What comes of it is known."""
        try:
            if error is not None:
                self._tracing.fail(self._span, error, False)
        finally:
            self._span.end(self._end_ns)


class TransactionTrace:
    """The span of a transaction, from its start to its commit or abort."""

    __slots__ = ("_span", "context")

    def __init__(self, tracing: Tracing) -> None:
        self._span: Any = None
        #: What the operations of the transaction are nested in.
        self.context: Any = None
        self._begin(tracing)

    @_guarded
    def _begin(self, tracing: Tracing) -> None:
        self._span, self.context = tracing.start("transaction", tracing.current(), None, _SYSTEM)

    @_guarded
    def over(self) -> None:
        """It was committed or aborted. Idempotent."""
        span, self._span = self._span, None
        if span is not None:
            span.end()


class _Seen:
    """What of a command's document attributes are made of."""

    __slots__ = ("attributes", "collection", "database")

    def __init__(self, document: RawDocument) -> None:
        self.database = ""
        self.attributes: dict[str, Any] = {}
        self.collection: str | None = None
        command = document.name.lower()
        is_first = True
        for name, value in document.walk():
            if is_first:
                is_first = False
                if command in _ON_COLLECTIONS and isinstance(value, str):
                    self.collection = value
                elif command == "getmore" and isinstance(value, int):
                    self.attributes["db.mongodb.cursor_id"] = int(value)
            elif name == "$db" and isinstance(value, str):
                self.database = value
            elif name == "collection" and command == "getmore" and isinstance(value, str):
                self.collection = value
            elif name == "lsid" and isinstance(value, Walk):
                self.attributes["db.mongodb.lsid"] = _session_id(value)
            elif name == "txnNumber" and isinstance(value, int):
                self.attributes["db.mongodb.txn_number"] = int(value)
            elif name == "cursors" and command == "killcursors" and isinstance(value, Walk):
                # Ours name one; a span has but one such attribute.
                for _, cursor_id in value:
                    self.attributes.setdefault("db.mongodb.cursor_id", int(cursor_id))
        if self.database == "admin":
            self.collection = None


class _Shown(Walk):
    """A command without what the driver adds."""

    __slots__ = ()

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return (each for each in Walk.__iter__(self) if each[0] not in _ENVELOPE)


def _session_id(session: Walk) -> str:
    from uuid import UUID

    for name, value in session:
        if name == "id" and isinstance(value, bytes) and len(value) == 16:
            return str(UUID(bytes=bytes(value)))
    return ""


def _summary(name: str, database: str, collection: str | None) -> str:
    if collection is None or database == "admin":
        return f"{name} {database}"
    return f"{name} {database}.{collection}"


def _of_namespace(database: str, collection: str | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {**_SYSTEM, "db.namespace": database}
    if collection is not None and database != "admin":
        attributes["db.collection.name"] = collection
    return attributes


def _carried_out(span: _Span, plan: Generator[Any, Any, _Result]) -> Generator[Any, Any, _Result]:
    """Carry out `plan`, and have `span` know of it."""
    token = _PLAN.set(span)
    error: BaseException | None = None
    try:
        return (yield from plan)
    except BaseException as raised:
        error = raised
        raise
    finally:
        with suppress(ValueError):
            # A coroutine that nobody went on with is closed in another context.
            _PLAN.reset(token)
        # What was refused before anything was asked of a server is no operation.
        if span.database:
            span.over(error)


# -- which clients trace ------------------------------------------------------------------------


def tracing_of(given: Mapping[str, Any] | None) -> Tracing | None:
    """What a client traces with, which was given the option `tracing`; None: it does not.

    What the option leaves open, the environment says. Raises `ConfigurationError` where the option
    wants it, and OpenTelemetry is not installed; where only the environment does, that is a
    warning.
    """
    given = given or {}
    enabled = given.get("enabled")
    is_wanted = (
        os.environ.get(ENABLED_VARIABLE, "").strip().lower() in _TRUE
        if enabled is None
        else enabled
    )
    if not is_wanted:
        return None
    length = given.get("query_text_max_length")
    try:
        return Tracing(
            _length_by_environment() if length is None else length, given.get("tracer_provider")
        )
    except ImportError as error:
        text = (
            "OpenTelemetry's API is not installed: pip install 'mongokey[otel]' (or leave out "
            f"{ENABLED_VARIABLE if enabled is None else 'tracing'})"
        )
        if enabled:
            raise ConfigurationError(f"tracing: {text}") from error
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None


def _length_by_environment() -> int:
    """What is no positive number in the environment counts as not said."""
    value = os.environ.get(LENGTH_VARIABLE, "")
    try:
        return max(int(value), 0) if value else 0
    except ValueError:
        return 0


__all__ = ["OperationTrace", "Tracing", "TransactionTrace", "tracing_of"]
