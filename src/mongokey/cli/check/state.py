"""What a check knows while it goes on: what it was told, its hosts, its clock, who listens.

Knows one deadline over all of it, and how work on several hosts is done side by side. Must not know
any step.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mongokey._support.address import AddressLike, format_address
from mongokey._support.deadline import Deadline, Timeout, earliest
from mongokey._support.portable import Portable
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import Secret
from mongokey.cli.check.report import Found, Report, Step
from mongokey.diagnostics import Diagnosis
from mongokey.transport.stream import monotonic_ns

if TYPE_CHECKING:
    from mongokey.auth.conversation import Conversation
    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.login import LoginResult
    from mongokey.auth.provided import ProvidedSecrets
    from mongokey.client_options import ClientOptions
    from mongokey.connection.connection import Connection
    from mongokey.connection.settings import ConnectionSettings
    from mongokey.handshake import HelloReply
    from mongokey.topology.topology_description import TopologyDescription

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# How long a probe on the failure path may take: it only makes a cause surer.
PROBE_S = 3.0
# What those who keep the check's deadline may come late by.
_GRACE_NS = 500_000_000


class Listener(Protocol):
    """Who is told of a check as it goes on."""

    def began(self, name: str) -> None:
        """A step begins."""

    def ended(self, step: Step) -> None:
        """It is over."""


class Silent:
    """A listener that does nothing."""

    def began(self, name: str) -> None:
        """A step begins."""

    def ended(self, step: Step) -> None:
        """It is over."""


@with_safe_repr
class Host:
    """One server: its addresses, what became of each, and how far one got with it.

    `tries` is, by address, the milliseconds that connecting took, or why it failed, in words.
    `error` is why nothing more is known.
    """

    def __init__(self, address: AddressLike, *, seed: bool) -> None:
        self.address = address
        self.seed = seed
        self.ips: list[str] = []
        self.tries: dict[str, float | str] = {}
        self.error: Exception | None = None
        self.found: tuple[Diagnosis, ...] = ()
        self.timed_out = False
        self.connection: Connection | None = None
        self.tls: dict[str, Any] | None = None
        # The server's certificate in DER.
        self.certificate: bytes | None = None
        self.tls_ns = 0
        self.hello: HelloReply | None = None
        self.hello_ns = 0
        self.login: LoginResult | None = None
        # Of the latest login, for what is asked once it failed.
        self.conversation: Conversation | None = None

    @property
    def name(self) -> str:
        """``host:port``, or the path of a Unix socket."""
        return format_address(self.address)

    @property
    def reached(self) -> str | None:
        """The first of its addresses that was connected to; None while there is none."""
        return next((ip for ip, tried in self.tries.items() if not isinstance(tried, str)), None)

    def as_facts(self) -> dict[str, Any]:
        """Where it is, for evidence."""
        return {"host": self.name, "address": self.reached}

    def close(self) -> None:
        """Close its connection."""
        if self.connection is not None:
            self.connection.close()


@with_safe_repr
class State:
    """One check under way."""

    def __init__(
        self,
        uri: str,
        keywords: Mapping[str, Any],
        *,
        timeout_s: float,
        all_hosts: bool = False,
        name_server: tuple[str, int] | None = None,
        from_shell: bool = False,
        fail_fast: bool = True,
    ) -> None:
        self.given = Secret((uri, dict(keywords)))
        self.timeout = Timeout(round(timeout_s * 1e9), "--timeout")
        self.deadline: Deadline = self.timeout.start()
        self.all_hosts = all_hosts
        self.name_server = name_server
        self.from_shell = from_shell
        self.fail_fast = fail_fast
        self.options: ClientOptions | None = None
        self.settings: ConnectionSettings | None = None
        self.hosts: dict[AddressLike, Host] = {}
        self.topology: TopologyDescription | None = None
        self.chosen: list[Host] = []
        # What was found about the string before anything was asked; the corrected strings too.
        self.lint: tuple[Diagnosis, ...] = ()
        self.roles: list[str] = []
        self._secrets: ProvidedSecrets | None = None
        self.report: Report

    def limit(self, most_s: float | None = None) -> Deadline:
        """The deadline of one thing that is waited for: what is left of the check, of
        connectTimeoutMS and of `most_s`."""
        found = self.deadline
        if self.settings is not None and self.settings.limit is not None:
            found = earliest(self.settings.limit.start(), found) or found
        if most_s is not None:
            found = earliest(Timeout(round(most_s * 1e9)).start(), found) or found
        return found

    def credential(self, host: Host) -> MongoCredential | None:
        """Who logs in to `host`; asks the provider of the secret, if there is one."""
        options = self.options
        assert options is not None
        if options.provided is None:
            return options.credential
        if self._secrets is None:
            from mongokey.auth.provided import ProvidedSecrets

            self._secrets = ProvidedSecrets(options.provided)
        return self._secrets.fetch(host.address, None, self.limit()).credential

    def probe(self) -> Deadline:
        """The deadline of a probe."""
        return self.limit(PROBE_S)

    def within(self, deadline: Deadline, work: Callable[[], _Result]) -> _Result | None:
        """Do what cannot be interrupted, in a thread that is left alone once `deadline` is over;
        None then. Raises what `work` raises."""
        done: list[_Result] = []
        failed: list[Exception] = []

        def run() -> None:
            try:
                done.append(work())
            except Exception as error:  # raised where it is waited for
                failed.append(error)

        thread = threading.Thread(target=run, name="mongokey check", daemon=True)
        thread.start()
        thread.join(deadline.left_s)
        if failed:
            raise failed[0]
        return done[0] if done else None

    def facts(self, host: Host | None = None) -> dict[str, Any]:
        """Who is tried where and how, for evidence: known before any cause is guessed."""
        options = self.options
        facts: dict[str, Any] = {} if host is None else host.as_facts()
        if options is None:
            return facts
        credential = options.credential
        if credential is not None:
            facts["user"] = credential.shown_user
            facts["source"] = credential.source
            facts["source_origin"] = credential.source_origin
            facts["mechanism"] = credential.mechanism or "negotiated"
        facts["tls"] = options.tls is not None
        return facts

    def side_by_side(
        self, work: Callable[[_Item], _Result], items: Iterable[_Item]
    ) -> list[_Result | Exception | None]:
        """Do `work` on each item, each in a thread of its own; what came of each, in their order.

        None where it did not end in time: it keeps its own deadline, this one is for what cannot
        be interrupted.
        """
        listed = list(items)
        results: list[_Result | Exception | None] = [None] * len(listed)

        def run(index: int) -> None:
            try:
                results[index] = work(listed[index])
            except Exception as error:  # told to the one who asked
                results[index] = error

        threads = [
            threading.Thread(target=run, args=(index,), name="mongokey check", daemon=True)
            for index in range(len(listed))
        ]
        for thread in threads:
            thread.start()
        # One grace for all of them: a hundred silent hosts are not to make it a hundred.
        end_ns = self.deadline.at_ns + _GRACE_NS
        for thread in threads:
            thread.join(max(end_ns - monotonic_ns(), 0) / 1e9)
        return results

    def warn(self, *diagnoses: Diagnosis, facts: Mapping[str, Any] | None = None) -> None:
        """Add warnings that are not there yet."""
        known = {each.diagnosis.code for each in self.report.warnings}
        for each in diagnoses:
            if each.code not in known:
                self.report.warnings.append(Found(each, facts))

    def close(self) -> None:
        """Close all connections."""
        for host in self.hosts.values():
            host.close()


class StepFailed(Portable, Exception):
    """A step has failed: `found` are the causes, the surest first."""

    def __init__(self, found: Iterable[Found], *, timed_out: bool = False) -> None:
        super().__init__()
        self.found = list(found)
        self.timed_out = timed_out


def milliseconds(since_ns: int) -> float:
    """The milliseconds since a monotonic time."""
    return round((monotonic_ns() - since_ns) / 1e6, 3)


__all__ = [
    "PROBE_S",
    "Host",
    "Listener",
    "Silent",
    "State",
    "StepFailed",
    "milliseconds",
]
