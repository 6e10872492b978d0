"""Asks DNS again, now and then, which servers a mongodb+srv string names.

It follows polling-srv-records-for-mongos-discovery.md: when the next look is due, and when there is
none. It must not know topologies, monitors or DNS messages: it is given callables, and something
that calls it after a time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial

from mongokey._support.jobs import Blocking, run_steps
from mongokey._support.lazy import late_imports
from mongokey._support.log_names import logger_name
from mongokey.dns.resolver import Resolver, poll_interval_s
from mongokey.errors import ConfigurationError
from mongokey.options.connection_string import DNSAnswer, SRVQuestion, check_targets

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, Protocol

    from mongokey._support.address import Address
    from mongokey._support.jobs import JobSteps
    from mongokey.options.connection_string import Resolve

    class Scheduler(Protocol):
        """What of a client's monitors is used here."""

        def call_every(self, period_ns: int, job: Callable[[], object]) -> Any: ...
        def run_beside(self, job: Callable[[], object]) -> object: ...


class SrvPolling:
    """The rescans of one client.

    :param ask: what DNS says now, a `DNSAnswer`; blocks, and raises when no host that may be
        connected to is found
    :param update: takes the hosts in, all that DNS names; must not block for long
    :param is_wanted: whether the deployment may be one of routers: it is sharded, or unknown yet.
        Once that is False it stays so, and polling ends
    :param heartbeat_s: heartbeatFrequencyMS in seconds, the pause after a look-up that failed
    :param ttl_s: what the first look-up said of the records' time to live; None: not known

    Look-ups that failed are told to the logger of the topology (INFO). None of the callables may
    keep the client alive.
    """

    def __init__(
        self,
        ask: Callable[[], DNSAnswer],
        update: Callable[[Sequence[Address]], object],
        is_wanted: Callable[[], bool],
        *,
        heartbeat_s: float,
        ttl_s: float | None = None,
    ) -> None:
        self._ask = ask
        self._update = update
        self._is_wanted = is_wanted
        self._heartbeat_s = heartbeat_s
        #: Seconds between the end of a look-up and the next one (rescanSRVIntervalMS).
        self.interval_s = poll_interval_s(ttl_s)
        self._job: Any = None
        self._scheduler: Callable[[], Scheduler | None] = _nobody

    def start(self, scheduler: Scheduler) -> None:
        """Have the next look-up done in `interval_s` seconds, and so on, as long as it is wanted.

        A start after that, as in a forked child, begins anew with the interval of then.
        """
        self.stop()
        self._scheduler = weakref.ref(scheduler)
        self._schedule(scheduler)

    def stop(self) -> None:
        """No more look-ups; what one that is under way finds is still taken in."""
        job, self._job = self._job, None
        if job is not None:
            job.cancel()

    def _schedule(self, scheduler: Scheduler) -> None:
        self._job = scheduler.call_every(round(self.interval_s * 1e9), self._due)

    def _due(self) -> None:
        """In the monitors' thread, which must not wait."""
        # The next time is reckoned from this look-up's end.
        self.stop()
        scheduler = self._scheduler()
        if scheduler is not None and self._is_wanted():
            scheduler.run_beside(self._rescan_and_go_on)

    def _rescan_and_go_on(self) -> JobSteps[None]:
        try:
            yield from self._rescan()
        finally:
            scheduler = self._scheduler()
            if scheduler is not None and self._job is None and self._is_wanted():
                self._schedule(scheduler)

    def rescan(self) -> None:
        """Look now, and say when to look again; blocks. A failure leaves the servers as they are,
        raises nothing, and has the next look-up done after a heartbeat."""
        run_steps(self._rescan())

    def _rescan(self) -> JobSteps[None]:
        try:
            answer = yield Blocking(self._ask)
            if not answer.hosts:
                raise ConfigurationError("no host was named")
        except Exception as error:  # the application's own resolver may raise anything
            self.interval_s = self._heartbeat_s
            self._tell(error)
            return
        self.interval_s = poll_interval_s(answer.ttl_s)
        # It may have become a replica set while DNS was asked.
        if self._is_wanted():
            self._update(answer.hosts)

    def _tell(self, error: Exception) -> None:
        with late_imports:
            import logging

        logging.getLogger(logger_name("topology")).info(
            "DNS was asked for the servers again, in vain; they stay as they are: %s", error
        )


def make_ask(question: SRVQuestion, resolver: Any = None) -> Callable[[], DNSAnswer]:
    """The `ask` of a `SrvPolling`: all hosts that `question` leads to now, whatever its limit.

    :param resolver: as the option `srv_resolver`: a callable, a dns.resolver.Resolver, or None
    """
    if not callable(resolver):
        resolver = Resolver(resolver)
    if isinstance(resolver, Resolver):
        return partial(resolver.poll, question)
    return partial(_ask_other, resolver, question)


def _ask_other(resolve: Resolve, question: SRVQuestion) -> DNSAnswer:
    """Ask a resolver of the application's own."""
    answer = resolve(
        SRVQuestion(
            question.fqdn,
            question.service_name,
            0,
            question.timeout,
            question.allowed_hosts_suffix,
            question.host_validator,
        )
    )
    if isinstance(answer, tuple):
        answer = DNSAnswer(*answer)
    check_targets(question.fqdn, answer.hosts)
    return answer


def _nobody() -> None:
    """A weak reference to nothing yet."""


__all__ = ["SrvPolling", "make_ask"]
