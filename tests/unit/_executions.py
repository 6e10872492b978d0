"""A deployment that is not there: executions are driven by a script, without a socket."""

from __future__ import annotations

import os
from typing import Any

from mongokey import bson, wire
from mongokey.commands.command import Command
from mongokey.connection.connection import Connection
from mongokey.errors import AutoReconnect, MongoError, OperationFailure
from mongokey.execution.cursors import ServerCursor
from mongokey.execution.execution import STEPS, Execution, Executor
from mongokey.execution.operation import Namespace, Operation
from mongokey.handshake import HelloReply
from mongokey.pool.blocking import BlockingPool
from mongokey.sessions.explicit_session import ExplicitSession
from mongokey.topology.server_description import ServerDescription
from mongokey.topology.topology import Topology
from mongokey.transport.stream import SocketStream
from tests.pools import open_one

SERVER = ("server", 27017)
SECOND = 10**9
OK = {"ok": 1}


def lost() -> AutoReconnect:
    return AutoReconnect("server: connection lost")


class ScriptedExecutor(Executor):
    """Carries operations out by the script of its deployment."""

    deployment: Deployment

    def execute(self, operation: Operation) -> Any:
        return self.deployment.carry_out(Execution(self, operation))

    def execute_in(self, operation: Operation, session: ExplicitSession) -> Any:
        return self.deployment.carry_out(Execution(self, operation, session=session))

    def execute_for_cursor(self, operation: Operation, cursor: ServerCursor) -> Any:
        return self.deployment.carry_out(Execution(self, operation, cursor))


class Deployment:
    """One server that is not there: its connections lead nowhere, and a script says what becomes
    of each step."""

    execution: Execution

    def __init__(self, hello: dict[str, Any], **options: Any) -> None:
        self.hello = hello
        #: What happens at a step, in turn: an exception, or for an exchange the reply.
        self.script: dict[str, list[Any]] = {step: [] for step in STEPS}
        self.steps: list[str] = []
        self.slept: list[int] = []
        self.commands: list[dict[str, Any]] = []
        self.now = 1 * SECOND
        self.pool = BlockingPool(SERVER, self.connect)
        self.topology = Topology([SERVER], lambda address: self.pool, None)
        self.topology.open()
        self.says(hello)
        open_one(self.pool)  # so that the pool knows its server
        executor_options = {"retry_reads": True, "retry_writes": True, **options}
        self.executor = ScriptedExecutor(self.topology, **executor_options)
        self.executor.deployment = self

    def says(self, hello: dict[str, Any] | None) -> None:
        """A check has found the server saying `hello`, or failed."""
        self.topology.on_check(
            ServerDescription(
                SERVER,
                None if hello is None else HelloReply({"hosts": ["server:27017"], **hello}),
                0.001,
            )
        )

    def connect(self, *_: Any) -> Connection:
        stream = SocketStream(os.open(os.devnull, os.O_RDWR), "server")
        connection = Connection(stream, SERVER)
        connection.accept_hello(HelloReply(self.hello))
        return connection

    def run(self, command: Any, **kinds: Any) -> Any:
        """The result of `command`, a document or an operation."""
        operation = command
        if isinstance(command, dict):
            operation = Command(Namespace("x", "y"), command, **kinds)
        self.steps.clear()
        self.commands.clear()
        return self.executor.execute(operation)

    def carry_out(self, execution: Execution) -> Any:
        self.execution = execution
        try:
            while True:
                try:
                    step = STEPS[execution.advance()]
                    self.steps.append(step)
                    if step == "done":
                        return execution.result
                    self.take(step, execution)
                except MongoError as error:
                    raised = execution.failed(error)
                    if raised is not None:
                        raise raised from None
        finally:
            execution.end()

    def take(self, step: str, execution: Execution) -> None:
        if step in ("exchange", "send only"):
            self.commands.append(dict(wire.decode_message(execution.message).body))
        scripted = self.script[step]
        outcome = scripted.pop(0) if scripted else OK
        if isinstance(outcome, BaseException):
            connection = execution.connection
            if connection is not None and not isinstance(outcome, OperationFailure):
                connection.close()  # as those do that meet such an error
            raise outcome
        if step == "select server":
            self.says(self.hello)
            execution.selected(self.pool)
        elif step == "check out":
            execution.checked_out(self.connect() if outcome is OK else outcome, self.now)
        elif step == "exchange":
            execution.received_reply(bson.encode(outcome))
        elif step == "send only":
            execution.sent_only()
        elif step == "sleep":
            self.slept.append(execution.backoff_ns)
            execution.slept()
        else:
            assert step == "authenticate"
            execution.authenticated()
