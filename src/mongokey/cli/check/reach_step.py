"""Steps `tcp` and `tls`: every address of every host, then TLS and the first message.

Knows how to try all addresses at once in one wait, and how one connection of each host is made up
to the server's answer to hello, which steps `hello` and `login` go on with. Must not know logins.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import warnings
from typing import TYPE_CHECKING, Any

from mongokey._support.address import format_address
from mongokey._support.deadline import Deadline, Timeout, earliest
from mongokey.auth.diagnosis import explain_hello
from mongokey.cli.check.report import SKIPPED, WARNED, Found, Step
from mongokey.cli.check.state import Host, State, StepFailed, milliseconds
from mongokey.cli.check.tls_probes import look_closer, peer_certificate, tls_facts
from mongokey.connection.connection import Connection
from mongokey.connection.missing_tls import detect_missing_tls
from mongokey.connection.settings import ConnectionSettings
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first
from mongokey.errors import (
    AutoReconnect,
    BSONError,
    ConfigurationError,
    MongoError,
    NetworkTimeout,
    OperationFailure,
    ProtocolError,
)
from mongokey.handshake import ClientMetadata, HelloReply
from mongokey.handshake.hello import hello_command
from mongokey.topology.causes import hint_of_host
from mongokey.transport.causes import REFUSED, connection_causes
from mongokey.transport.connecting import connect
from mongokey.transport.stream import monotonic_ns
from mongokey.wire.compression import available

if TYPE_CHECKING:
    from mongokey.auth.credential import MongoCredential

APP_NAME = "mongokey check"
# Once a host was reached, the others are not waited for much longer.
_OTHERS_S = 3.0
# Silence for a shorter time is not yet one that a firewall makes.
_FAIR_NS = 1_000_000_000
_HURRIED = {"confidence": POSSIBLE, "fix": "give it more time (--timeout)"}


# ---------------------------------------------------------------- tcp


def check_tcp(state: State, step: Step) -> None:
    """Connect to every address of every host."""
    hosts = [host for host in state.hosts.values() if host.ips]
    connect_all(state, hosts)
    step.facts["addresses"] = {host.name: dict(host.tries) for host in hosts}
    for host in hosts:
        tries = [
            f"{ip} {tried if isinstance(tried, str) else f'{tried:.1f} ms'}"
            for ip, tried in host.tries.items()
        ]
        step.lines.append(f"{host.name}: {', '.join(tries)}")
    lost = [host for host in hosts if host.reached is None]
    found = explain_tcp(lost)
    if state.timeout.ns < _FAIR_NS:
        found = tuple(
            each.replace(**_HURRIED) if each.code == "TCP-TIMEOUT" else each for each in found
        )
    if lost and len(lost) == len(hosts):
        facts = {"hosts": [host.name for host in lost]}
        raise StepFailed(
            [Found(each, facts) for each in found], timed_out=all(host.timed_out for host in lost)
        )
    if lost:
        state.warn(*found)
        step.status = WARNED
    family = _one_family(hosts)
    if family is not None:
        state.warn(family)
        step.status = WARNED


def explain_tcp(lost: list[Host]) -> tuple[Diagnosis, ...]:
    """Why hosts could not be connected to."""
    return connection_causes(
        {
            host.address: {_place(host, ip): str(tried) for ip, tried in host.tries.items()}
            for host in lost
            if host.tries
        }
    )


def _place(host: Host, ip: str) -> str:
    port = host.address[1]
    return ip if port is None else format_address((ip, port))


def _one_family(hosts: list[Host]) -> Diagnosis | None:
    """A name with addresses of both families of which only one is served."""
    for host in hosts:
        refused = [ip for ip, tried in host.tries.items() if isinstance(tried, str)]
        reached = [ip for ip, tried in host.tries.items() if not isinstance(tried, str)]
        if not refused or not reached:
            continue
        if {":" in ip for ip in refused} & {":" in ip for ip in reached}:
            continue
        kind, other = ("IPv4", "IPv6") if ":" in refused[0] else ("IPv6", "IPv4")
        return Diagnosis(
            "TCP-ONE-FAMILY",
            CERTAIN,
            f"{host.name} is served over {kind} only, and its name has {other} addresses too, "
            "which other tools may try first, or alone",
            [f"connection to {ip} {host.tries[ip]}" for ip in refused]
            + [f"connection to {ip} made" for ip in reached],
            f"name the {kind} address ({reached[0]}), or have the server listen on both "
            "(net.ipv6, --bind_ip)",
        )
    return None


def connect_all(state: State, hosts: list[Host]) -> None:
    """Try all addresses of `hosts` at once; `tries` and `timed_out` are set."""
    limit = state.limit()
    began = monotonic_ns()
    with selectors.DefaultSelector() as selector:
        waiting = 0
        for host in hosts:
            for ip in host.ips:
                waiting += _start(selector, host, ip, began)
        while waiting and not limit.passed():
            for key, _ in selector.select(min(limit.left_s, 0.25)):
                host, ip = key.data
                _finish(host, ip, key.fileobj, began)
                selector.unregister(key.fileobj)
                key.fileobj.close()  # type: ignore[union-attr]
                waiting -= 1
            if any(host.reached for host in hosts):
                limit = earliest(limit, Timeout(round(_OTHERS_S * 1e9)).start(began)) or limit
        for key in list(selector.get_map().values()):
            host, ip = key.data
            host.tries[ip] = f"timed out after {(monotonic_ns() - began) / 1e9:.3f} s"
            key.fileobj.close()  # type: ignore[union-attr]
    for host in hosts:
        host.timed_out = host.reached is None and any(
            isinstance(tried, str) and tried.startswith("timed out")
            for tried in host.tries.values()
        )


def _start(selector: selectors.BaseSelector, host: Host, ip: str, began: int) -> int:
    name, port = host.address
    try:
        if port is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            to: Any = name
        else:
            info = socket.getaddrinfo(
                ip, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )[0]
            sock, to = socket.socket(info[0], socket.SOCK_STREAM), info[4]
    except (OSError, AttributeError) as error:
        host.tries[ip] = f"failed: {getattr(error, 'strerror', None) or error}"
        return 0
    try:
        sock.setblocking(False)
        code = sock.connect_ex(to)
    except OSError as error:
        sock.close()
        host.tries[ip] = f"failed: {error.strerror or error}"
        return 0
    if code in (errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN):
        selector.register(sock, selectors.EVENT_WRITE, (host, ip))
        return 1
    _note(host, ip, code, began)
    sock.close()
    return 0


def _finish(host: Host, ip: str, sock: Any, began: int) -> None:
    _note(host, ip, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), began)


def _note(host: Host, ip: str, code: int, began: int) -> None:
    if code == 0:
        host.tries[ip] = milliseconds(began)
    elif code == errno.ECONNREFUSED:
        host.tries[ip] = REFUSED
    elif code == errno.ETIMEDOUT:
        host.tries[ip] = f"timed out after {(monotonic_ns() - began) / 1e9:.3f} s"
    else:
        host.tries[ip] = f"failed: {os.strerror(code)}"


# ---------------------------------------------------------------- tls


def make_settings(state: State) -> None:
    """What all connections of the check share. Raises ConfigurationError for TLS files that cannot
    be used."""
    options = state.options
    assert options is not None
    pool, tls = options.pool_options, None
    if pool.tls is not None:
        from mongokey.transport.tls.context import ClientTLS

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tls = ClientTLS(pool.tls)
    state.settings = ConnectionSettings(
        ClientMetadata(pool.appname or APP_NAME),
        options.credential,
        Timeout.from_seconds(pool.connect_timeout, "connectTimeoutMS"),
        None,
        tls,
        pool.server_api,
        bool(options.load_balanced),
        Timeout.from_seconds(options.timeout, "timeoutMS"),
        compression=available(pool.compressors, pool.zlib_compression_level),
    )


def check_tls(state: State, step: Step) -> None:
    """Make a connection to each host that was reached, up to the server's answer to hello."""
    options = state.options
    assert options is not None
    if state.settings is None or (options.tls is not None and state.settings.tls is None):
        try:
            make_settings(state)
        except ConfigurationError as error:
            diagnoses = error.diagnoses or (Diagnosis("TLS-FILE", CERTAIN, str(error)),)
            raise StepFailed([Found(each, state.facts()) for each in diagnoses]) from None
    hosts = [host for host in state.hosts.values() if host.reached is not None]
    greet_all(state, hosts)
    encrypted = options.tls is not None
    step.facts["on"] = encrypted
    if not encrypted:
        step.status = SKIPPED
        step.lines.append("not asked for: the connection is not encrypted")
    step.facts["hosts"] = {host.name: host.tls for host in hosts if host.tls is not None}
    for host in hosts:
        if host.tls is not None:
            step.lines.append(f"{host.name}: {_in_words(host.tls)}")
    _note_slow_responders(state, hosts, step)
    failed = [host for host in hosts if _is_tls_failure(host)]
    if not failed:
        return
    found = look_closer(state, failed, len(hosts))
    if len(failed) == len(hosts):
        step.lines = [str(failed[0].error)] if not encrypted else step.lines
        raise StepFailed(found, timed_out=all(host.timed_out for host in failed))
    state.warn(*(each.diagnosis for each in found))
    step.status = WARNED


def _note_slow_responders(state: State, hosts: list[Host], step: Step) -> None:
    """The certificate's OCSP responders that were waited for in vain."""
    tls = state.settings.tls if state.settings is not None else None
    silent = tls.revocation.silent if tls is not None and tls.revocation is not None else []
    if not silent:
        return
    longest = max((host.tls_ns for host in hosts), default=0)
    state.warn(
        Diagnosis(
            "TLS-OCSP-SLOW",
            LIKELY,
            f"the OCSP responder {', '.join(silent)} did not answer, so that the handshake took "
            f"{longest / 1e6:.0f} ms",
            ["it was asked whether the server's certificate is revoked"],
            "let it be reached from here, or have the server staple its answer; or "
            "tlsDisableOCSPEndpointCheck=true",
        )
    )
    step.status = WARNED


def _is_tls_failure(host: Host) -> bool:
    """Whether a host's error is of TLS, or of the want of it: else it is the hello's."""
    if host.error is None:
        return False
    codes = [each.code for each in (*host.found, *getattr(host.error, "diagnoses", ()))]
    return any(code.startswith("TLS-") for code in codes) or (
        host.tls is None and host.hello is None and host.connection is None
    )


def _in_words(facts: dict[str, Any]) -> str:
    chain = facts.get("chain") or [{}]
    leaf = chain[0]
    text = f"{facts['protocol']}, {facts['cipher']}"
    if leaf.get("subject"):
        text += f"; {leaf['subject']} until {leaf['valid_until'][:10]}, by {leaf['issuer']}"
    if facts.get("client_certificate"):
        text += f"; client certificate {facts['client_certificate']}"
    return text


def greet_all(state: State, hosts: list[Host]) -> None:
    """Make the connection of each host, side by side, up to hello."""

    def greet(host: Host) -> None:
        try:
            _greet(state, host)
        except (MongoError, BSONError, OSError) as error:
            host.error = error
            host.found = surest_first(getattr(error, "diagnoses", ()))
            host.timed_out = bool(getattr(error, "timeout", False))
            if host.connection is not None:
                host.connection.close()

    for host, result in zip(hosts, state.side_by_side(greet, hosts), strict=True):
        if isinstance(result, Exception):
            raise result
        if host.error is None and host.hello is None:
            host.timed_out = True
            host.error = NetworkTimeout(f"{host.name}: {state.deadline.timed_out()}")


def _greet(state: State, host: Host) -> None:
    settings, options = state.settings, state.options
    assert settings is not None
    assert options is not None
    deadline = state.limit()
    began = monotonic_ns()
    stream = open_stream(host, deadline)
    try:
        if settings.tls is not None:
            if host.address[1] is None:
                raise ConfigurationError(f"TLS is not used over Unix sockets: {host.name}")
            stream = settings.tls.wrap(stream, host.address[0], deadline)
            host.tls = tls_facts(stream, settings.tls)
            host.certificate = peer_certificate(stream, settings.tls)
            host.tls_ns = monotonic_ns() - began
            began = monotonic_ns()
        connection = Connection(stream, host.address)
    except BaseException:
        stream.close()
        raise
    host.connection = connection
    if settings.compression is not None:
        connection.offer_compression(settings.compression)
    try:
        reply = connection.command("admin", _hello(state, state.credential(host)), deadline)
        if not reply.get("ok"):
            code = reply.get("code")
            text = explain_hello(reply, options.credential, host.address)
            raise OperationFailure(text, code if isinstance(code, int) else None, reply)
        hello = HelloReply(reply)
    except (AutoReconnect, ProtocolError) as error:
        better = detect_missing_tls(error, settings, host.address, connection)
        raise (better or error) from None
    connection.accept_hello(hello)
    settings.hello_seen.add(host.address)
    host.hello, host.hello_ns = hello, monotonic_ns() - began


def open_stream(host: Host, deadline: Deadline) -> Any:
    """A plain stream to the address of `host` that was reached."""
    name, port = host.address
    ip = host.reached
    if port is None:
        return connect(name, None, deadline=deadline)
    assert ip is not None
    return connect(name, port, deadline=deadline, resolver=lambda *_: [(ip, port)])


def _hello(state: State, credential: MongoCredential | None) -> dict[str, Any]:
    settings = state.settings
    assert settings is not None
    assert settings.metadata is not None
    question = None
    # Also where a mechanism is named: which ones the user has tells a wrong one from a wrong user.
    if credential is not None and (credential.mechanism or "SCRAM-").startswith("SCRAM-"):
        question = f"{credential.source}.{credential.username}"
    return hello_command(
        settings.metadata.raw,
        server_api=settings.server_api,
        load_balanced=settings.load_balanced,
        sasl_supported_mechs=question,
        compressors=() if settings.compression is None else settings.compression.names,
    )


def hints_of_hosts(state: State) -> list[Diagnosis]:
    """What the names of the hosts alone tell."""
    found = [hint_of_host(host.address[0]) for host in state.hosts.values()]
    return [each for each in found if each is not None]


__all__ = [
    "check_tcp",
    "check_tls",
    "connect_all",
    "explain_tcp",
    "greet_all",
    "hints_of_hosts",
    "make_settings",
    "open_stream",
]
