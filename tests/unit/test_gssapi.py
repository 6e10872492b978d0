"""The GSSAPI conversation (RFC 4752) with a library that the test plays: no KDC, no network."""

from __future__ import annotations

import datetime
import os
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from mongokey._support.deadline import Deadline
from mongokey.auth.conversation import AbandonableCall, OffloadedCall
from mongokey.auth.credential import MongoCredential, build_credential
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout, ServerProofError
from mongokey.auth.kerberos import canonical_host, libraries
from mongokey.auth.kerberos import open_context as opening
from mongokey.auth.kerberos.conversation import GssapiConversation, check_layers
from mongokey.auth.kerberos.error_codes import find_cause
from mongokey.auth.kerberos.evidence import Evidence
from mongokey.auth.kerberos.hints import find_hints
from mongokey.auth.kerberos.interface import (
    Context,
    KerberosFailure,
    Library,
    Service,
    Ticket,
)
from mongokey.auth.kerberos.tickets import PasswordTickets
from mongokey.auth.login import Command
from mongokey.auth.whole_login import login
from mongokey.errors import ConfigurationError, NetworkTimeout, OperationFailure
from tests.deadlines import within

ADDRESS = ("mongo.example.com", 27017)
USER = "ada@EXAMPLE.COM"
LAYERS = b"\7\xff\xff\xff"
SECRET = "7f3a-the-password"


class PlayedContext(Context):
    """Signs by putting "signed:" in front; complete after `rounds` tokens of the server's."""

    def __init__(self, rounds: int = 1) -> None:
        self.rounds = rounds
        self.taken: list[bytes] = []
        self.told_failed = 0

    def step(self, token: bytes) -> bytes:
        self.taken.append(token)
        if len(self.taken) > self.rounds:
            self.complete = True
            self.principal = USER
            return b""
        return b"token %d" % len(self.taken)

    def failed(self) -> None:
        self.told_failed += 1

    def unwrap(self, token: bytes) -> bytes:
        if not token.startswith(b"signed:"):
            raise KerberosFailure("played", [("A token had an invalid MIC", 6 << 16)])
        return token[7:]

    def wrap(self, message: bytes) -> bytes:
        return b"signed:" + message


class PlayedLibrary(Library):
    package = "played"

    def __init__(self, context: Context | None = None) -> None:
        self.context = context or PlayedContext()
        self.opened: list[tuple[str, str, str | None]] = []
        self.failure: Exception | None = None

    def open(
        self,
        service: Service,
        username: str,
        password: str | None,
        tickets: PasswordTickets,
        deadline: Deadline | None = None,
    ) -> Context:
        self.opened.append((str(service), username, password))
        if self.failure is not None:
            raise self.failure
        return self.context


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> PlayedLibrary:
    library = PlayedLibrary()
    monkeypatch.setattr(opening, "find_library", lambda password: library)
    return library


def credential(password: str | None = None, **properties: Any) -> MongoCredential:
    made = build_credential("GSSAPI", USER, password, properties=properties)
    assert made is not None
    return made


def talk(
    conversation: GssapiConversation, replies: list[tuple[bytes, bool]]
) -> list[dict[str, Any]]:
    """Hold the conversation against payloads and done flags; returns the commands sent."""
    sent = []
    step = conversation.start()
    while step is not None:
        if isinstance(step, OffloadedCall):
            step.run(within(10_000))
            step = conversation.resume(step)
            continue
        sent.append(step)
        payload, done = replies.pop(0)
        step = conversation.step({"conversationId": 7, "done": done, "payload": payload, "ok": 1})
    assert replies == []
    return sent


GOOD = [(b"mutual", False), (b"signed:" + LAYERS, False), (b"", True)]


def test_tokens_then_an_empty_one_then_the_choice(library: PlayedLibrary) -> None:
    conversation = GssapiConversation(credential(), ADDRESS)
    assert conversation.source == "$external"
    sent = talk(conversation, list(GOOD))
    assert sent == [
        {"saslStart": 1, "mechanism": "GSSAPI", "payload": b"token 1", "autoAuthorize": 1},
        {"saslContinue": 1, "conversationId": 7, "payload": b""},
        {
            "saslContinue": 1,
            "conversationId": 7,
            "payload": b"signed:\1\0\0\0" + USER.encode(),
        },
    ]
    assert library.opened == [("mongodb@mongo.example.com", USER, None)]
    assert conversation.diagnostic_context().principal == USER


def test_it_does_not_speculate(library: PlayedLibrary) -> None:
    assert GssapiConversation(credential(), ADDRESS).speculative() is None


def test_a_context_may_take_several_tokens(library: PlayedLibrary) -> None:
    library.context = PlayedContext(rounds=3)
    sent = talk(GssapiConversation(credential(), ADDRESS), [(b"x", False)] * 2 + GOOD)
    assert [command["payload"] for command in sent][:4] == [b"token 1", b"token 2", b"token 3", b""]


def test_a_server_without_end_is_left(library: PlayedLibrary) -> None:
    library.context = PlayedContext(rounds=100)
    with pytest.raises(ServerProofError, match="no end after 10 tokens"):
        talk(GssapiConversation(credential(), ADDRESS), [(b"x", False)] * 20)


def test_only_what_may_wait_is_waiting_work(library: PlayedLibrary) -> None:
    conversation = GssapiConversation(credential(), ADDRESS)
    first = conversation.start()
    assert isinstance(first, AbandonableCall)
    assert first.what == "asking Kerberos for a ticket for mongodb@mongo.example.com"
    first.run(within(10_000))
    conversation.resume(first)
    second = conversation.step({"conversationId": 1, "done": False, "payload": b"x", "ok": 1})
    assert isinstance(second, OffloadedCall)
    assert not isinstance(second, AbandonableCall)


@pytest.mark.parametrize("layers", range(256))
def test_no_layer_is_chosen_whenever_it_is_offered(layers: int) -> None:
    offer = bytes((layers, 0, 16, 0))
    if layers & 1:
        check_layers(offer)
    else:
        with pytest.raises(ServerProofError, match="without a security layer"):
            check_layers(offer)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 5, 8, 4096])
def test_an_offer_has_four_bytes(size: int) -> None:
    with pytest.raises(ServerProofError, match=f"has {size} bytes, not 4"):
        check_layers(b"\1" * size)


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ([(b"mutual", True)], "ended the login before it offered"),
        ([(b"mutual", False), (b"signed:" + LAYERS, True)], "ended the login before it offered"),
        ([(b"mutual", False), (b"", False)], "not Kerberos's answer to us"),
        ([(b"mutual", False), (LAYERS, False)], "not Kerberos's answer to us"),
        ([(b"mutual", False), (b"signed:", False)], "has 0 bytes"),
        ([(b"mutual", False), (b"signed:\6\0\0\0", False)], "it offers integrity and confid"),
        ([*GOOD[:2], (b"", False)], "wants to go on after the choice"),
    ],
)
def test_a_server_that_breaks_the_exchange_is_refused(
    replies: list[tuple[bytes, bool]], message: str, library: PlayedLibrary
) -> None:
    with pytest.raises(ServerProofError, match=message):
        talk(GssapiConversation(credential(), ADDRESS), list(replies))


def test_a_refusal_gives_the_shared_ticket_up(library: PlayedLibrary) -> None:
    conversation = GssapiConversation(credential(SECRET), ADDRESS)
    work = conversation.start()
    assert isinstance(work, OffloadedCall)
    work.run(within(10_000))
    conversation.resume(work)
    with pytest.raises(OperationFailure):
        conversation.step({"ok": 0, "code": 18, "errmsg": "Authentication failed."})
    assert isinstance(library.context, PlayedContext)
    assert library.context.told_failed == 1


# The service


@pytest.mark.parametrize(
    ("properties", "service"),
    [
        ({}, "mongodb@mongo.example.com"),
        ({"SERVICE_NAME": "other"}, "other@mongo.example.com"),
        ({"SERVICE_HOST": "real"}, "mongodb@real"),
        ({"SERVICE_REALM": "ACME.COM"}, "mongodb/mongo.example.com@ACME.COM"),
        (
            {"SERVICE_NAME": "n", "SERVICE_HOST": "h", "SERVICE_REALM": "R"},
            "n/h@R",
        ),
    ],
)
def test_the_service_comes_from_address_and_properties(
    properties: dict[str, str], service: str, library: PlayedLibrary
) -> None:
    conversation = GssapiConversation(credential(SECRET, **properties), ADDRESS)
    talk(conversation, list(GOOD))
    assert library.opened == [(service, USER, SECRET)]
    told = conversation.credential_description()
    assert told is not None
    assert told.startswith(f"Kerberos service {service} (host name: ")
    assert told.endswith("through played")


@pytest.mark.parametrize("name", ["SERVICE_NAME", "SERVICE_HOST", "SERVICE_REALM"])
@pytest.mark.parametrize("value", ["", "a/b", "a@B", "a\0b", 5])
def test_a_property_is_one_part_of_a_principal(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        credential(**{name: value})


@pytest.mark.parametrize(("user", "password"), [("a\0b", None), ("ada", "x\0y")])
def test_nul_is_refused(user: str, password: str | None) -> None:
    with pytest.raises(ConfigurationError, match="NUL"):
        build_credential("GSSAPI", user, password)


def test_a_unix_socket_needs_a_service_host(library: PlayedLibrary) -> None:
    path = ("/tmp/mongodb-27017.sock", None)
    with pytest.raises(ConfigurationError, match="SERVICE_HOST"):
        GssapiConversation(credential(), path).start()
    talk(GssapiConversation(credential(SERVICE_HOST="real"), path), list(GOOD))
    assert library.opened == [("mongodb@real", USER, None)]


class Names:
    def __init__(self, forward: Any, reverse: Any) -> None:
        self._forward = forward
        self._reverse = reverse

    def forward(self, host: str) -> tuple[str, Any]:
        if isinstance(self._forward, Exception):
            raise self._forward
        return self._forward, ("192.0.2.7", 0)

    def reverse(self, address: Any) -> str:
        if isinstance(self._reverse, Exception):
            raise self._reverse
        return str(self._reverse)


NOT_KNOWN = OSError(-2, "Name or service not known")


@pytest.mark.parametrize(
    ("mode", "forward", "reverse", "name", "how"),
    [
        ("none", NOT_KNOWN, NOT_KNOWN, "h", ""),
        ("forward", "Real.Example.COM.", "other", "real.example.com", "=forward of h"),
        ("forward", "", "other", "h", "=forward of h"),
        ("forward", NOT_KNOWN, "other", "h", "found no address, Name or service not known"),
        ("forward", UnicodeError("label too long"), "", "h", "label too long"),
        ("forwardAndReverse", "real", "Other.", "other", "through 192.0.2.7"),
        ("forwardAndReverse", "real", NOT_KNOWN, "real", "192.0.2.7 has no name"),
        ("forwardAndReverse", NOT_KNOWN, "other", "h", "found no address"),
    ],
)
def test_canonical_names_and_what_stands_in(
    mode: str, forward: Any, reverse: Any, name: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical_host, "resolver", Names(forward, reverse))
    found, words = canonical_host.canonicalize("h", mode)
    assert found == name
    assert how in words


def test_the_systems_resolver_knows_localhost() -> None:
    name, address = canonical_host.SystemResolver().forward("localhost")
    assert name
    assert address[0] in ("127.0.0.1", "::1")
    assert canonical_host.SystemResolver().reverse(("127.0.0.1", 0))
    # Refused before any name server is asked.
    assert canonical_host.canonicalize("a..b", "forward")[0] == "a..b"


def test_the_systems_resolver_takes_the_first_address_and_requires_a_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def getaddrinfo(host: str, port: None, **options: Any) -> list[Any]:
        assert options == {"proto": socket.IPPROTO_TCP, "flags": socket.AI_CANONNAME}
        # Only the first entry has the canonical name.
        return [(2, 1, 6, "real.example.com", ("192.0.2.1", 0)), (2, 1, 6, "", ("192.0.2.2", 0))]

    def getnameinfo(address: Any, flags: int) -> tuple[str, str]:
        assert (address, flags) == (("192.0.2.1", 0), socket.NI_NAMEREQD)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket, "getnameinfo", getnameinfo)
    name, how = canonical_host.canonicalize("alias", "forwardAndReverse")
    assert name == "real.example.com"
    assert how.endswith("192.0.2.1 has no name, Name or service not known")


def test_the_canonical_name_is_asked_for_and_told(
    library: PlayedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canonical_host, "resolver", Names("real.example.com", "rack7.example.com"))
    conversation = GssapiConversation(credential(CANONICALIZE_HOST_NAME=True), ADDRESS)
    talk(conversation, list(GOOD))
    assert library.opened[0][0] == "mongodb@rack7.example.com"
    assert conversation.credential_description() == (
        "Kerberos service mongodb@rack7.example.com (host name: as in the address, "
        "CANONICALIZE_HOST_NAME=forwardAndReverse of mongo.example.com through 192.0.2.7), "
        "through played"
    )


# Failures


def drive(password: str | None = None, **hello: Any) -> None:
    """A login by the generator that both faces drive, up to its first work's failure."""
    steps = login(credential(password), None, ADDRESS)
    command = next(steps)
    assert isinstance(command, Command)
    reply = {"ok": 1, "isWritablePrimary": True, "minWireVersion": 0, "maxWireVersion": 21, **hello}
    work = steps.send(reply)
    assert isinstance(work, OffloadedCall)
    work.run(within(300))
    steps.send(None)


def test_a_librarys_failure_is_told_with_its_messages_and_what_to_do(
    library: PlayedLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRB5CCNAME", "FILE:/tmp/cache")
    monkeypatch.delenv("KRB5_CLIENT_KTNAME", raising=False)
    library.failure = KerberosFailure(
        "played", [("No credentials.", 458752), ("No credentials cache found", -1765328189)]
    )
    with pytest.raises(AuthenticationFailed) as caught:
        drive()
    text = str(caught.value)
    assert "played: No credentials (458752); No credentials cache found (-1765328189)" in text
    assert "[KRB-NO-TICKET, certain] no ticket of ada@EXAMPLE.COM in FILE:/tmp/cache" in text
    assert caught.value.code is None


def test_a_password_is_in_no_error(library: PlayedLibrary) -> None:
    library.failure = KerberosFailure("played", [("Preauthentication failed", -1765328360)])
    with pytest.raises(AuthenticationFailed, match="KRB-PASSWORD-WRONG") as caught:
        drive(SECRET)
    error = caught.value
    assert error.login is not None
    assert SECRET not in f"{error} {error!r} {error.login!r} {error.login.diagnostic_context!r}"


def test_a_library_that_waits_too_long_is_left(library: PlayedLibrary) -> None:
    over = threading.Event()

    def wait(*_: Any) -> Context:
        over.wait(10)
        return library.context

    library.open = wait  # type: ignore[method-assign]
    try:
        with pytest.raises(
            LoginTimeout, match=r"timed out after 0\.\d+ s of asking.*KRB-KDC-UNREACHABLE, likely"
        ):
            drive()
    finally:
        over.set()


def test_a_bug_in_an_adapter_is_not_taken_for_a_refusal(library: PlayedLibrary) -> None:
    library.failure = ZeroDivisionError("bug")
    with pytest.raises(ZeroDivisionError):
        drive()


KRB5 = -1765328384


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        ([("", 851968), ("x", KRB5 + 7)], "KRB-SERVICE-UNKNOWN"),
        ([("", 851968), ("Server krbtgt/B@A not found in Kerberos database", KRB5 + 7)],
         "KRB-REALM-UNKNOWN"),
        ([("", 458752), ("x", KRB5 + 6)], "KRB-CLIENT-UNKNOWN"),
        ([("", 851968), ("x", KRB5 + 37)], "KRB-CLOCK-SKEW"),
        ([("", 851968), ("x", KRB5 + 156)], "KRB-KDC-UNREACHABLE"),
        ([("", 851968), ("x", KRB5 + 154)], "KRB-REALM-UNKNOWN"),
        ([("", 851968), ("x", KRB5 + 41)], "KRB-KEY-MISMATCH"),
        ([("", 458752), ("x", 100001)], "KRB-NO-TICKET"),
        ([("", 720896), ("x", 0)], "KRB-TICKET-EXPIRED"),
        # Without codes: Heimdal, SSPI.
        ([("unable to reach any KDC in realm EXAMPLE.COM", None)], "KRB-KDC-UNREACHABLE"),
        ([("SSPI: AcquireCredentialsHandle: No credentials are available in the security package",
           None)], "KRB-NO-TICKET"),
        ([("SSPI: InitializeSecurityContext: The logon attempt failed\r\n", None)],
         "KRB-PASSWORD-WRONG"),
        ([("SSPI: The specified target is unknown or unreachable", None)],
         "KRB-SERVICE-UNKNOWN"),
        ([("something else", 851968), ("and more", 5)], None),
    ],
)  # fmt: skip
def test_causes_are_found_by_code_and_by_text(
    messages: list[tuple[str, int | None]], word: str | None
) -> None:
    assert find_cause(KerberosFailure("played", messages)) == word


class Facts:
    """LoginContext, as far as hints look at them."""

    hello: Any = None

    def __init__(self, evidence: Any, local_time: datetime.datetime | None = None) -> None:
        self.diagnostic_context = evidence
        if local_time is not None:
            self.hello = type("Hello", (), {"document": {"localTime": local_time}})


def evidence(**fields: Any) -> Evidence:
    made = Evidence(USER, False)
    made.service = Service("mongodb", "h", None, "as in the address")
    made.clock_s = 1_700_000_000.0
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def hinted(code: Any, facts: Facts) -> list[str]:
    return [hint.code for hint in find_hints(code, facts)]  # type: ignore[arg-type]


@pytest.mark.parametrize("aware", [True, False])
@pytest.mark.parametrize(("minutes", "skewed"), [(0, False), (4, False), (-6, True), (6, True)])
def test_clocks_are_compared_by_hellos_local_time(minutes: int, skewed: bool, aware: bool) -> None:
    local = datetime.datetime.fromtimestamp(1_700_000_000 + minutes * 60, datetime.timezone.utc)
    if not aware:
        local = local.replace(tzinfo=None)
    assert ("KRB-CLOCK-SKEW" in hinted(18, Facts(evidence(), local))) == skewed
    # A server that took the ticket has no quarrel with the clock.
    assert hinted(18, Facts(evidence(principal=USER), local)) == []


def test_hints_of_other_refusals_are_not_kerberos() -> None:
    assert hinted(334, Facts(evidence())) == []
    assert hinted(18, Facts(None)) == []
    assert hinted(18, Facts(evidence())) == ["KRB-KEY-MISMATCH"]


def test_a_ticket_that_is_there_instead_is_named() -> None:
    failure = KerberosFailure("gssapi", [("Can't find client principal", KRB5 + 141)])
    failure.ticket = Ticket("bob@EXAMPLE.COM", 3 * 3600 + 120)
    (hint,) = find_hints(None, Facts(evidence(failure=failure)))  # type: ignore[arg-type]
    assert hint.code == "KRB-TICKET-OTHER"
    assert "holds a ticket of bob@EXAMPLE.COM (for 3 h 2 min more), not of ada@" in hint.text


def test_every_cause_has_advice() -> None:
    from mongokey.auth.kerberos import error_codes, hints

    named = {
        value for name, value in vars(error_codes).items() if name.isupper() and name[0] != "_"
    }
    assert set(hints._ADVICE) == named
    failure = KerberosFailure("gssapi", [])
    failure.ticket = Ticket("bob@EXAMPLE.COM", None)
    for word in named:
        assert hints._advise(word, evidence(failure=failure, library="gssapi")).strip()


# Libraries


def test_without_any_library_the_error_has_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "ON_WINDOWS", False)
    monkeypatch.setattr(libraries, "UNIX", ("mongokey_no_such_module:Library",))
    with pytest.raises(ConfigurationError, match=r"-m pip install gssapi` \[KRB-PACKAGE-MISSING"):
        libraries.find_library(password=False)
    with pytest.raises(ConfigurationError, match="a GSSAPI login with a password"):
        drive(SECRET)


def test_a_library_is_not_loaded_before_it_is_used() -> None:
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        "import mongokey\n"
        "mongokey.MongoClient('mongodb://u%40R@h/?authMechanism=GSSAPI')\n"
        "bad = {'gssapi', 'kerberos', 'winkerberos', 'socket'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr


# The ticket of a password, shared


def test_threads_share_one_question_and_its_failure() -> None:
    tickets = PasswordTickets()
    asked: list[int] = []
    waiting = threading.Barrier(5, timeout=10)
    answer = threading.Event()

    def make() -> Any:
        asked.append(1)
        answer.wait(10)
        raise KerberosFailure("played", [("no", None)])

    outcomes: list[Any] = []

    def use() -> None:
        waiting.wait()
        try:
            outcomes.append(tickets.get(make, lambda _: True))
        except KerberosFailure as error:
            outcomes.append(error)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.wait()
    while not asked:
        pass
    threading.Event().wait(0.2)  # the others are at it too by now
    answer.set()
    for thread in threads:
        thread.join(10)
    assert all(isinstance(outcome, KerberosFailure) for outcome in outcomes)
    assert (len(outcomes), len(asked)) == (4, 1)
    # Nothing is held after a failure.
    assert tickets.get(lambda: "new", lambda _: True) == "new"
    assert tickets.get(lambda: "newer", lambda _: True) == "new"


def test_the_wait_for_another_login_s_ticket_ends_by_the_login_s_deadline() -> None:
    tickets = PasswordTickets()
    asking, answer = threading.Event(), threading.Event()

    def make() -> Any:
        asking.set()
        answer.wait(10)
        return "slow"

    first = threading.Thread(target=tickets.get, args=(make, lambda _: True))
    first.start()
    try:
        assert asking.wait(10)
        with pytest.raises(NetworkTimeout, match="connectTimeoutMS=30"):
            tickets.get(lambda: "own", lambda _: True, within(30, "connectTimeoutMS"))
    finally:
        answer.set()
        first.join(10)
    # Who gave up has taken nothing from the others.
    assert tickets.get(lambda: "own", lambda _: True) == "slow"


def test_a_ticket_that_expired_or_failed_is_made_anew() -> None:
    tickets = PasswordTickets()
    first, second, third = object(), object(), object()
    assert tickets.get(lambda: first, lambda _: True) is first
    assert tickets.get(lambda: second, lambda held: held is not first) is second
    tickets.drop(first)  # an older one: no harm to the new one
    assert tickets.get(lambda: third, lambda _: True) is second
    tickets.drop(second)
    assert tickets.get(lambda: third, lambda _: True) is third
    assert repr(third) not in repr(tickets)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_does_not_wait_for_its_parents_thread() -> None:
    program = """
import os, signal, threading
from mongokey.auth.kerberos.tickets import PasswordTickets

tickets, asking, answer = PasswordTickets(), threading.Event(), threading.Event()

def ask():
    asking.set()
    answer.wait()
    return "parent's"

threading.Thread(target=tickets.get, args=(ask, lambda _: True), daemon=True).start()
asking.wait()
child = os.fork()
if child == 0:
    signal.alarm(5)
    os._exit(0 if tickets.get(lambda: "child's", lambda _: True) == "child's" else 1)
assert os.waitpid(child, 0)[1] == 0
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert run.returncode == 0, run.stderr
