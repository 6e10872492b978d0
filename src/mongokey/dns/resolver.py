"""The look-up itself: SRV and TXT asked side by side, of each name server in turn, in one time.

Knows which records are asked for and what they may hold, and keeps the one deadline of the
look-up. Must not know sockets (`exchange`) or options; the rules for hosts stand in `names`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from mongokey._support.address import Address
from mongokey._support.deadline import Deadline, Timeout, earliest
from mongokey._support.hostnames import host_problem
from mongokey._support.lazy import late_imports
from mongokey._support.log_names import logger_name
from mongokey._support.reprs import with_safe_repr
from mongokey._support.system import monotonic
from mongokey._support.waiting import Cancelled, call_in_thread, never
from mongokey.dns import errors, names
from mongokey.dns.errors import Attempt, SRVError
from mongokey.options.connection_string import DNSAnswer, SRVQuestion

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import random
    from typing import Any

    import dns.message
    import dns.name
    import dns.resolver
    import dns.rrset

# When connectTimeoutMS is 0: a look-up without an end helps nobody. As PyMongo does.
DEFAULT_TIMEOUT = Timeout(20_000_000_000)
# polling-srv-records-for-mongos-discovery.md: the least time between two polls.
MIN_POLL_S = 60.0
# How long an SRV answer that names no host waits for the TXT answer, which explains it better.
_EXPLAIN = Timeout(200_000_000)


def poll_interval_s(ttl_s: float | None) -> float:
    """Seconds until the SRV records should be asked for again, from their time to live."""
    return max(MIN_POLL_S, ttl_s or 0.0)


@with_safe_repr
class Resolver:
    """Finds the hosts of mongodb+srv strings; what connection strings take as
    `Resolve`. Thread-safe.

    :param resolver: a `dns.resolver.Resolver` whose name servers, port and EDNS settings are
        used; None is dnspython's default one, which programs may have set up, at each look-up.
        Where its `resolve`, or `dns.resolver.resolve`, is the program's own, that is called
    :param name_servers: addresses to ask instead (not together with `resolver`)
    :param port: the port of `name_servers`; default 53
    :param rng: a `random.Random` that chooses the hosts where srvMaxHosts asks for fewer

    Raises TypeError for arguments of the wrong kind. dnspython's cache, search list and TSIG keys
    are not used.
    """

    def __init__(
        self,
        resolver: dns.resolver.Resolver | None = None,
        *,
        name_servers: Iterable[str] | None = None,
        port: int = 53,
        rng: random.Random | None = None,
    ) -> None:
        if resolver is not None and name_servers is not None:
            raise TypeError("give resolver or name_servers, not both")
        if isinstance(name_servers, str):
            raise TypeError("name_servers must be a list of addresses, not a str")
        if resolver is not None and not hasattr(resolver, "nameservers"):
            raise TypeError(
                f"resolver must be a dns.resolver.Resolver, not {type(resolver).__name__}"
            )
        self._resolver = resolver
        self._name_servers = None if name_servers is None else list(name_servers)
        self._port = port
        self._rng = rng

    def __repr__(self) -> str:
        if self._name_servers is not None:
            return f"Resolver(name_servers={self._name_servers!r}, port={self._port})"
        return "Resolver()" if self._resolver is None else f"Resolver({self._resolver!r})"

    def __call__(self, question: SRVQuestion) -> DNSAnswer:
        """The hosts and the TXT record that `question` asks for.

        SRV and TXT are asked at the same time and have `question.timeout` together (None is
        20 s). With srvMaxHosts, that many of the hosts are chosen at random. Raises SRVError,
        a ConfigurationError, saying what each name server did.
        """
        fqdn = names.ascii_name(question.fqdn)
        names.check_name(fqdn)
        check = names.make_host_check(question)
        lookup = self._begin(question)
        hosts, ttl_s, txt = lookup.run(fqdn)
        for host, _ in hosts:
            check(host)
        most = question.max_hosts
        if 0 < most < len(hosts):
            if self._rng is None:
                with late_imports:
                    import random

                hosts = random.sample(hosts, most)
            else:
                hosts = self._rng.sample(hosts, most)
        return DNSAnswer(hosts, txt, ttl_s, lookup.attempts)

    def poll(self, question: SRVQuestion) -> DNSAnswer:
        """All hosts that the SRV records name now and that may be connected to; no TXT record.

        For a client that has asked before (polling-srv-records-for-mongos-discovery.md): hosts that
        may not be connected to are left out, and told to the logger "mongokey.topology" (INFO);
        srvMaxHosts is the caller's. Raises SRVError when DNS fails or names no host that may be
        connected to.
        """
        fqdn = names.ascii_name(question.fqdn)
        check = names.make_host_check(question)
        lookup = self._begin(question)
        hosts, ttl_s = lookup.hosts(fqdn)
        kept, refused = [], None
        for host in hosts:
            try:
                check(host[0])
            except SRVError as error:
                refused = error
                with late_imports:
                    import logging

                logging.getLogger(logger_name("topology")).info("a host is passed over: %s", error)
            else:
                kept.append(host)
        if not kept:
            if refused is not None:
                raise refused
            raise errors.no_records(
                question, f"_{question.service_name}._tcp.{fqdn}", lookup.attempts
            )
        return DNSAnswer(kept, None, ttl_s, lookup.attempts)

    def _begin(self, question: SRVQuestion) -> _Lookup:
        with late_imports:
            import dns.resolver

        if self._resolver is None and self._name_servers is None:
            # As PyMongo calls it.
            own = _programs_own(dns.resolver.resolve)
            if own is not None:
                return _Lookup(question, None, own)
        resolver = self._find_resolver()
        return _Lookup(question, resolver, _programs_own(getattr(resolver, "resolve", None)))

    def _find_resolver(self) -> dns.resolver.Resolver:
        with late_imports:
            import dns.exception
            import dns.resolver

        if self._resolver is not None:
            return self._resolver
        if self._name_servers is not None:
            made = dns.resolver.Resolver(configure=False)
            made.nameservers = self._name_servers
            made.port = self._port
            return made
        try:
            return dns.resolver.get_default_resolver()
        except (dns.exception.DNSException, OSError) as error:
            raise errors.no_resolver(str(error) or type(error).__name__) from error


def _programs_own(resolve: Callable[..., Any] | None) -> Callable[..., Any] | None:
    """`resolve`, if the program has put it in the place of dnspython's; else None."""
    with late_imports:
        import dns.resolver

    if resolve is None or getattr(resolve, "__globals__", None) is vars(dns.resolver):
        return None
    return resolve


class _Records(list["Any"]):
    """What the program's own `resolve` has found; `ttl` in seconds, 0 if it does not tell."""

    ttl = 0


class _Lookup:
    """One look-up: its deadline, its servers and what they did.

    With `own`, what the program has for dnspython's `resolve`, that is called in place of asking
    the servers of `resolver`.
    """

    def __init__(
        self,
        question: SRVQuestion,
        resolver: dns.resolver.Resolver | None,
        own: Callable[..., Any] | None,
    ) -> None:
        with late_imports:
            from mongokey.dns.exchange import servers_of

        self.question = question
        self.deadline = (question.timeout or DEFAULT_TIMEOUT).start()
        self.attempts: list[Attempt] = []
        self._own = own
        if own is not None or resolver is None:
            return
        self._resolver = resolver
        self._servers = servers_of(resolver)
        if not self._servers:
            raise errors.no_resolver("it names no server")
        if resolver.rotate:
            with late_imports:
                import random

            random.shuffle(self._servers)

    def run(self, fqdn: str) -> tuple[list[Address], float, str | None]:
        """(hosts, time to live in seconds, TXT); raises SRVError."""
        txt = _Side(self, fqdn)
        hosts, ttl_s = self.hosts(fqdn, txt)
        return hosts, ttl_s, txt.text()

    def hosts(self, fqdn: str, txt: _Side | None = None) -> tuple[list[Address], float]:
        """(hosts, time to live in seconds); raises SRVError, explained by what `txt` finds."""
        asked = f"_{self.question.service_name}._tcp.{fqdn}"
        try:
            records = self.ask(asked, "SRV")
        except _NoSuchName:
            exists = None
            if txt is not None:
                txt.wait(_EXPLAIN.start())
                exists = txt.name_exists
            raise errors.no_such_name(
                self.question, asked, self.attempts_at(f"SRV {asked}"), exists
            ) from None
        if records is None:
            raise errors.no_records(self.question, asked, self.attempts_at(f"SRV {asked}"))
        hosts = [
            Address((record.target.to_text(omit_final_dot=True).lower(), record.port))
            for record in records
        ]
        if any(host == "." or not port for host, port in hosts):
            raise errors.no_service(self.question, asked)
        for host, _ in hosts:
            if host_problem(host) is not None:
                raise errors.no_host_name(host, fqdn)
        return hosts, float(records.ttl)

    def attempts_at(self, asked: str) -> list[Attempt]:
        """What came of the question `asked`."""
        return [attempt for attempt in self.attempts if attempt.question == asked]

    def ask(self, name: str, kind: str) -> dns.rrset.RRset | _Records | None:
        """The records of type `kind` of `name`, None if it has none.

        Raises _NoSuchName, or SRVError when no name server gave an answer in time.
        """
        if self._own is not None:
            return self._ask_program(self._own, name, kind)
        with late_imports:
            import dns.exception
            import dns.message
            import dns.rcode

        request = self._request(name, kind)
        asked = f"{kind} {name}"
        servers = list(self._servers)
        each = Timeout.from_seconds(self._resolver.timeout) or DEFAULT_TIMEOUT
        while servers:
            for server in list(servers):
                if self.deadline.passed():
                    raise self.failed(name, kind)
                before = len(self.attempts_at(asked))
                until = earliest(self.deadline, each.start()) or self.deadline
                reply = server.ask(request, asked, until, self.attempts.append)
                if reply is not None and reply.rcode() == dns.rcode.NXDOMAIN:
                    raise _NoSuchName
                if reply is not None and reply.rcode() == dns.rcode.NOERROR:
                    try:
                        found = reply.resolve_chaining()  # type: ignore[attr-defined]
                    except dns.exception.DNSException:
                        self.attempts_at(asked)[-1].outcome = errors.MALFORMED
                    else:
                        answer: dns.rrset.RRset | None = found.answer
                        return answer
                # Silence may have been a lost packet; what was said will be said again.
                if all(a.outcome != errors.TIMED_OUT for a in self.attempts_at(asked)[before:]):
                    servers.remove(server)
            each = Timeout(each.ns * 2)
        raise self.failed(name, kind)

    def _ask_program(self, own: Callable[..., Any], name: str, kind: str) -> _Records | None:
        """`ask`, of the program's own function."""
        with late_imports:
            import dns.exception
            import dns.resolver

        call = partial(own, name, kind, lifetime=self.deadline.left_s)
        began = monotonic()
        answer: Any = None
        outcome, detail, cause = errors.ANSWERED, "", None
        try:
            # It need not keep to the time that it is given.
            answer = call_in_thread(call, never, self.deadline)
        except dns.resolver.NXDOMAIN:
            outcome = errors.NO_SUCH_NAME
        except dns.resolver.NoAnswer:
            pass
        except (Cancelled, TimeoutError, dns.exception.Timeout):
            outcome = errors.TIMED_OUT
        except Exception as error:  # what PyMongo makes a ConfigurationError of, too
            outcome, detail, cause = type(error).__name__, str(error), error
        spent = monotonic() - began
        self.attempts.append(
            Attempt(f"{kind} {name}", "the program's resolver", "dnspython", outcome, detail, spent)
        )
        if outcome == errors.NO_SUCH_NAME:
            raise _NoSuchName
        if outcome != errors.ANSWERED:
            raise self.failed(name, kind) from cause
        if answer is None:
            return None
        # It may be empty, as that of a mere mock is: PyMongo then reads a string without hosts.
        found = _Records(answer)
        found.ttl = getattr(getattr(answer, "rrset", None), "ttl", 0)
        return found

    def failed(self, name: str, kind: str) -> SRVError:
        """The error of a question that no name server gave a usable answer to."""
        return errors.failed(self.question, name, kind, self.attempts, self.deadline.timeout)

    def _request(self, name: str, kind: str) -> dns.message.QueryMessage:
        with late_imports:
            import dns.exception
            import dns.message
            import dns.name

        try:
            request = dns.message.make_query(dns.name.from_text(name), kind)
        except (dns.exception.DNSException, UnicodeError):
            raise errors.bad_name(name) from None
        resolver = self._resolver
        if resolver.edns >= 0:
            request.use_edns(resolver.edns, resolver.ednsflags, resolver.payload)
        if resolver.flags is not None:
            request.flags = resolver.flags
        return request


class _NoSuchName(Exception):
    """NXDOMAIN."""


class _Side:
    """The TXT question, asked beside the SRV question by a thread of its own."""

    def __init__(self, lookup: _Lookup, fqdn: str) -> None:
        self.name_exists: bool | None = None
        self._lookup = lookup
        self._fqdn = fqdn
        self._records: Any = None
        self._error: Exception | None = None
        self._thread: threading.Thread | None
        self._thread = threading.Thread(target=self._run, name="mongokey-txt", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads to be had: one after the other will do
            self._thread = None

    def _run(self) -> None:
        try:
            self._records = self._lookup.ask(self._fqdn, "TXT")
            self.name_exists = True
        except _NoSuchName:
            self.name_exists = False
        except Exception as error:  # raised in the asking thread
            self._error = error

    def wait(self, deadline: Deadline) -> None:
        """Wait for the answer, until then."""
        if self._thread is not None:
            self._thread.join(deadline.left_s)

    def text(self) -> str | None:
        """The TXT record's text, or None without one; raises SRVError."""
        lookup = self._lookup
        if self._thread is None:
            self._run()
        else:
            # The thread keeps the same deadline; it only has to notice it.
            self.wait(lookup.deadline.extended(_EXPLAIN.ns))
            if self._thread.is_alive():
                raise lookup.failed(self._fqdn, "TXT")
        if self._error is not None:
            raise self._error
        if not self._records:
            return None
        texts: Sequence[Sequence[bytes]] = [record.strings for record in self._records]
        if len(texts) > 1:
            raise errors.several_txt(self._fqdn, len(texts))
        try:
            return b"".join(texts[0]).decode()
        except UnicodeDecodeError:
            raise errors.undecodable_txt(self._fqdn) from None
