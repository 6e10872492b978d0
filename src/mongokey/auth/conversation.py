"""What every mechanism's conversation looks like, and how one is driven without a client.

A `Conversation` takes reply documents and gives command documents; work that needs no wire but
takes time (key derivation, a credential source) it hands out as `OffloadedCall`. Knows no
mechanism by name and does no I/O.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from mongokey._support.awaiting import in_private_loop
from mongokey._support.server_errors import raise_command_error
from mongokey._support.waiting import Cancelled, never, wait_for
from mongokey.errors import NetworkTimeout

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey._support.awaiting import AwaitResult
    from mongokey._support.deadline import Deadline

Document = dict[str, "Any"]


class OffloadedCall(ABC):
    """A piece of a login that is done off the wire; it may take long.

    A blocking driver calls `run`; an asyncio driver calls it in a thread, and has coroutines of the
    application's awaited in its loop (`await_result`). Afterwards the conversation goes on with
    `Conversation.resume(work)`, which raises what went wrong. `what` says in a few words what it
    is; it names no secret. `interactive` is True for work that has a deadline of its own (a person
    who logs in by browser): the connection's then stands still. `timed` is True for interactive
    work that timeoutMS bounds nevertheless, where the client has one.
    """

    what: str = "preparing the login"
    interactive: bool = False
    timed: bool = False
    error: Exception | None = None
    # The login's, from `run` on; None for no limit.
    deadline: Deadline | None = None
    # How a coroutine of the application's is awaited; who drives a login may set it before `run`.
    await_result: AwaitResult = staticmethod(in_private_loop)
    # Whether nobody needs the work any more; who drives a login may set it before `run`.
    cancelled: Callable[[], bool] = staticmethod(never)

    def run(self, deadline: Deadline | None = None) -> None:
        """Do the work, blocking. Does not raise: failures wait for `resume`, which knows more.

        `deadline` is the login's, None for no limit. A call that computes may overrun it a little;
        one that waits for others keeps to it.
        """
        self.deadline = deadline
        try:
            self._work()
        except Exception as error:
            self.error = error

    @abstractmethod
    def _work(self) -> None:
        """The work itself."""

    def __repr__(self) -> str:
        return f"<OffloadedCall: {self.what}>"


class AbandonableCall(OffloadedCall):
    """A call that waits for others in calls that cannot be interrupted (a KDC, a name server).

    It runs in a thread of its own, so that the deadline and Ctrl-C hold: what is not done in
    time is left to end by itself, and its outcome forgotten.
    """

    def run(self, deadline: Deadline | None = None) -> None:
        from threading import Event, Thread

        self.deadline = deadline
        done = Event()
        failed: list[Exception] = []

        def work() -> None:
            try:
                self._work()
            except Exception as error:
                failed.append(error)
            finally:
                done.set()

        # A daemon: a process that wants to end does not wait for an abandoned call.
        Thread(target=work, name=f"mongokey: {self.what}", daemon=True).start()
        try:
            ended = wait_for(done, deadline, self.cancelled)
        except Cancelled as error:
            self.error = error
            return
        if ended:
            self.error = failed[0] if failed else None
        elif deadline is not None:
            self.error = NetworkTimeout(deadline.timed_out(self.what))


Step = Document | OffloadedCall | None


class Conversation(ABC):
    """One login of one connection by one mechanism; used once, never shared.

    `mechanism` is the mechanism's name and `source` the database its commands go to. The order
    of calls is: `speculative` (or not), `start`, then `step` with each reply and `resume` after
    each `OffloadedCall`, until one of them returns None: only then the login is complete and, where
    the mechanism has a way to prove it, the server proved.
    """

    mechanism: str
    source: str

    def speculative(self) -> Document | None:
        """What to send as hello's speculativeAuthenticate, with `db`; None for nothing."""
        return None

    @abstractmethod
    def start(self, speculative_reply: Mapping[str, Any] | None = None) -> Step:
        """The first command still to be sent.

        `speculative_reply` is the server's answer to `speculative`, or None when it gave none
        or gave one for another mechanism: then the conversation starts afresh.
        """

    def step(self, reply: Mapping[str, Any]) -> Step:
        """The next command after `reply`, a decoded reply to the last one.

        Raises OperationFailure when the server refused, ServerProofError when it could not
        prove itself or broke the protocol.
        """
        if not reply.get("ok"):
            raise_command_error(reply)
        return self._next(reply)

    @abstractmethod
    def _next(self, reply: Mapping[str, Any]) -> Step:
        """The next step after a reply that is no error (a speculative one has no `ok`)."""

    def resume(self, work: OffloadedCall) -> Step:
        """The next step after `work`, which this conversation handed out and which was run.

        Raises what the work raised.
        """
        if work.error is not None:
            raise work.error
        return self._resumed(work)

    def _resumed(self, work: OffloadedCall) -> Step:
        """The next step after work that succeeded."""
        raise RuntimeError(f"{self.mechanism} handed out no work")

    def credential_description(self) -> str | None:
        """What a failed login's message adds to what was tried, in a clause without secrets:
        where a credential came from, which Kerberos service was asked for. None for nothing."""
        return None

    def diagnostic_context(self) -> Any:
        """What the mechanism's hints about a failed login look at; `LoginContext` has it
        under the same name. It holds no secret. None for nothing."""
        return None

    def saved_state(self) -> Any:
        """What a later login of the same connection has to know of this one (`restore`); its repr
        shows no secret. None for nothing."""
        return None

    def restore(self, saved_state: Any) -> None:  # noqa: B027 - most have nothing to do
        """Told before `start`: this login replaces one of the same connection that the server no
        longer accepts (error 391), and `saved_state` is what that one left."""


def run_blocking(
    conversation: Conversation, send: Callable[[str, Document], Mapping[str, Any]]
) -> None:
    """Hold a whole conversation over somebody's blocking I/O.

    `send(database, command)` sends the command as OP_MSG and returns the decoded reply, error
    replies included. Returns when the login is complete; raises OperationFailure when it fails.
    """
    step = conversation.start()
    while step is not None:
        if isinstance(step, OffloadedCall):
            step.run()
            step = conversation.resume(step)
        else:
            # In no variable while it is sent: tools that report errors print those, and the command
            # may hold a secret.
            command, step = [step], None
            step = conversation.step(send(conversation.source, command.pop()))
