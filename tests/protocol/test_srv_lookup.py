"""Looking up SRV and TXT records: what can go wrong with DNS, and what is said about it.

Where a real name server does it, it is asked (nsd); a scripted one stands in for silence,
garbage and cut answers.
"""

from __future__ import annotations

import random
import socket
import threading
import time
import unittest.mock
from collections.abc import Iterator
from typing import Any

import dns.message
import dns.nameserver
import dns.rcode
import dns.resolver
import pymongo.uri_parser
import pytest
from dns.rdtypes.ANY.TXT import TXT
from dns.rdtypes.IN.SRV import SRV

import mongokey
from mongokey.aio.client_context import AsyncClientContext
from mongokey.client_options import ClientOptions
from mongokey.dns import Attempt, Resolver, SRVError, poll_interval_s
from mongokey.errors import ConfigurationError
from mongokey.faces.client_context import ClientContext
from mongokey.options.connection_string import DNSAnswer, SRVQuestion
from mongokey.uri_parser import parse_uri
from tests.deadlines import timeout_of
from tests.servers import dns_script as script
from tests.servers.dns import HOST, DNSServer, require

MANY = 60


def _srv(name: str, *targets: str, port: int = 27017) -> list[str]:
    return [f"_mongodb._tcp.{name}. 300 IN SRV 0 0 {port} {target}." for target in targets]


ZONE = [
    *_srv("c.example.test", "a.example.test", "b.example.test", "d.example.test"),
    'c.example.test. 300 IN TXT "replicaSet=rs0&" "authSource=admin"',
    *_srv("lb.example.test", "a.example.test"),
    'lb.example.test. 300 IN TXT "loadBalanced=true"',
    *_srv("big.example.test", *(f"server-number-{n:03}.example.test" for n in range(MANY))),
    *_srv("private.example.test", "a.internal.corp.test", "b.internal.corp.test"),
    *_srv("off.example.test", ""),
    *_srv("portless.example.test", "a.example.test", port=0),
    *_srv("path.example.test", "a.example.test", "/tmp/x.example.test"),
    *_srv("socket.example.test", "/tmp/x"),
    *_srv("dash.example.test", "-x.example.test"),
    *_srv("blank.example.test", "x\\032y.example.test"),
    "one.example.test. 300 IN A 127.0.0.1",
    'nosrv.example.test. 300 IN TXT "authSource=admin"',
    "_mongodb._tcp.nosrv.example.test. 300 IN TXT x",
    *_srv("bytes.example.test", "a.example.test"),
    'bytes.example.test. 300 IN TXT "authSource=\\255"',
    *_srv("semicolon.example.test", "a.example.test"),
    'semicolon.example.test. 300 IN TXT "authSource=a\\;tls=false"',
    *_srv("wrong.example.test", "a.example.test"),
    'wrong.example.test. 300 IN TXT "loadBalanced=maybe"',
    *_srv("xn--bcher-kva.example.test", "a.example.test"),
    *_srv("alias-of.example.test", "a.example.test"),
    "_mongodb._tcp.alias.example.test. 300 IN CNAME _mongodb._tcp.alias-of.example.test.",
]


@pytest.fixture(scope="module")
def server() -> Iterator[DNSServer]:
    require()
    with DNSServer({"example.test": ZONE, "broken.test": None}) as running:
        yield running


@pytest.fixture
def resolver(server: DNSServer) -> Resolver:
    return Resolver(name_servers=[HOST], port=server.port)


def _error(resolver: Resolver, fqdn: str, timeout_ms: float = 5000) -> SRVError:
    with pytest.raises(SRVError) as caught:
        resolver(SRVQuestion(fqdn, timeout=timeout_of(timeout_ms, "connectTimeoutMS")))
    assert isinstance(caught.value, ConfigurationError)
    return caught.value


def _outcomes(attempts: object, kind: str) -> list[tuple[str, str]]:
    assert isinstance(attempts, tuple)
    return [(a.transport, a.outcome) for a in attempts if a.question.startswith(kind)]


# ---------------------------------------------------------------- what is found


def test_hosts_text_and_time_to_live(resolver: Resolver) -> None:
    answer = resolver(SRVQuestion("C.example.test."))
    assert sorted(answer.hosts) == [(f"{x}.example.test", 27017) for x in "abd"]
    assert answer.txt == "replicaSet=rs0&authSource=admin"
    assert answer.ttl_s == 300
    assert sorted(a.question for a in answer.attempts) == [
        "SRV _mongodb._tcp.c.example.test",
        "TXT c.example.test",
    ]


@pytest.mark.parametrize("name", ["path", "socket", "dash", "blank"])
def test_a_target_that_is_no_host_name_is_no_path(resolver: Resolver, name: str) -> None:
    fqdn = f"{name}.example.test"
    for validator in (None, lambda host: True):
        with pytest.raises(SRVError, match="no host name") as caught:
            resolver(SRVQuestion(fqdn, host_validator=validator))
        assert caught.value.code == "SRV-HOST-NAME"
    with pytest.raises(SRVError):
        mongokey.MongoClient(
            f"mongodb+srv://{fqdn}/?tls=false",
            srv_resolver=resolver,
            srv_host_validator=lambda host: True,
        )


def test_polling_waits_for_the_time_to_live_but_a_minute_at_least() -> None:
    assert poll_interval_s(300.0) == 300
    assert poll_interval_s(5.0) == poll_interval_s(None) == 60


def test_a_client_finds_its_hosts_when_it_is_made(resolver: Resolver) -> None:
    with mongokey.MongoClient(
        "mongodb+srv://u:p@c.example.test/db?authMechanism=SCRAM-SHA-256", srv_resolver=resolver
    ) as client:
        assert len(client.options.hosts) == 3
        assert "a.example.test:27017" in repr(client)
        assert client.options.replica_set_name == "rs0"
        assert client.options.tls is not None
        assert client.options.credential.source == "admin"
        assert client.options.origin("authSource") == client.options.origin("replicaSet") == "TXT"
        assert client.options.origin("tls") == "default"
        assert client.get_database().name == client.get_default_database().name == "db"
        assert client.options.connection_string.srv_ttl_s == 300


@pytest.mark.parametrize("kind", [ClientContext, AsyncClientContext])
def test_connections_log_in_as_dns_says_when_it_is_asked_late(
    kind: type[ClientContext], resolver: Resolver
) -> None:
    """What connections share is made before: of asyncio's clients always."""
    uri = "mongodb+srv://u:p@c.example.test/db"
    context = kind(ClientOptions.build(uri, srv_resolver=resolver, _must_defer=True))
    settings = context.settings()
    assert settings.credential.source == "db"
    context.resolve_srv()
    assert context.settings() is settings
    assert settings.credential is context.options.credential
    assert settings.credential.source == "admin"
    # And share what is known of that login.
    other = ClientContext(ClientOptions.build(uri, srv_resolver=resolver)).settings().credential
    assert other is not settings.credential
    assert other.state.shared is settings.credential.state.shared
    uri = "mongodb+srv://lb.example.test/"
    balanced = kind(ClientOptions.build(uri, srv_resolver=resolver, _must_defer=True))
    assert not balanced.settings().load_balanced
    balanced.resolve_srv()
    assert balanced.settings().load_balanced


@pytest.mark.parametrize(
    ("login", "options"),
    [
        ("", "authMechanism=MONGODB-AWS"),
        ("", "authMechanism=MONGODB-X509"),
        ("", "authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:gcp,TOKEN_RESOURCE:x"),
        ("u@", "authMechanism=GSSAPI"),
    ],
)
def test_authsource_of_a_txt_record_leaves_external_mechanisms_alone(
    resolver: Resolver, login: str, options: str
) -> None:
    built = ClientOptions.build(
        f"mongodb+srv://{login}c.example.test/?{options}", _resolve=resolver
    )
    assert built.credential is not None
    assert built.credential.source == "$external"
    # In the string itself it is a mistake.
    with pytest.raises(ConfigurationError, match="authSource"):
        ClientOptions.build(
            f"mongodb+srv://{login}c.example.test/?{options}&authSource=admin", _resolve=resolver
        )


def test_parse_uri_asks_the_default_resolver(
    server: DNSServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What programs for PyMongo set when their machine's name server is of no use.
    chosen = dns.resolver.Resolver(configure=False)
    chosen.nameservers, chosen.port = [HOST], server.port
    monkeypatch.setattr(dns.resolver, "default_resolver", chosen)
    result = parse_uri("mongodb+srv://c.example.test/?srvMaxHosts=0&tls=false")
    assert len(result["nodelist"]) == 3
    assert result["fqdn"] == "c.example.test"
    assert result["options"]["tls"] is False
    with mongokey.MongoClient("mongodb+srv://c.example.test") as client:
        assert len(client.options.hosts) == 3


def test_dnspythons_resolver_can_be_given(server: DNSServer) -> None:
    chosen = dns.resolver.Resolver(configure=False)
    chosen.nameservers = [dns.nameserver.Do53Nameserver(HOST, server.port)]
    chosen.rotate = True
    chosen.use_edns(0, 0, 4096)
    for value in (chosen, Resolver(chosen)):
        options = ClientOptions.build("mongodb+srv://big.example.test", srv_resolver=value)
        assert len(options.hosts) == MANY
    answer = Resolver(chosen)(SRVQuestion("big.example.test"))
    assert _outcomes(answer.attempts, "SRV") == [("UDP", "NOERROR")]


# ---------------------------------------------------------------- a program's own resolve

SRV_RECORD = "SRV _mongodb._tcp.c.example.test"


def _records(name: str, kind: str, rdclass: object = None, lifetime: float = 0.0) -> list[Any]:
    """What programs put in the place of `dns.resolver.resolve`, in tests above all."""
    assert lifetime > 0
    if kind == "TXT":
        assert name == "c.example.test"
        return [TXT(1, 16, [b"replicaSet=", b"rs0"])]
    assert (name, kind) == ("_mongodb._tcp.c.example.test", "SRV")
    return [SRV(1, 33, 0, 0, 27018, f"{host}.example.test") for host in ("A", "b")]


def test_what_stands_for_dnspythons_resolve_is_asked_as_pymongo_asks_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_servers() -> None:
        raise dns.resolver.NoResolverConfiguration("none is needed")

    monkeypatch.setattr(dns.resolver, "get_default_resolver", no_servers)
    uri = "mongodb+srv://c.example.test/"
    for own in (_records, unittest.mock.Mock(side_effect=_records)):
        monkeypatch.setattr(dns.resolver, "resolve", own)
        result = parse_uri(uri)
        assert result["nodelist"] == [("a.example.test", 27018), ("b.example.test", 27018)]
        assert result["options"]["replicaSet"] == "rs0"
        # PyMongo leaves the names as they are written.
        theirs = pymongo.uri_parser.parse_uri(uri)
        theirs["nodelist"] = [(host.lower(), port) for host, port in theirs["nodelist"]]
        assert result["nodelist"] == theirs["nodelist"]
        assert result["options"]["replicaSet"] == theirs["options"]["replicaSet"]
    answer = Resolver().poll(SRVQuestion("c.example.test"))
    assert len(answer.hosts) == 2
    assert answer.ttl_s == 0
    assert {(each.question, each.outcome) for each in answer.attempts} == {(SRV_RECORD, "NOERROR")}
    # Who names the servers means those.
    with script.ScriptedDNS(script.rcode(dns.rcode.REFUSED)) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), "c.example.test")
    assert error.code == "DNS-REFUSED"


def test_a_resolver_whose_resolve_is_its_own_is_asked_by_that(
    server: DNSServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Chosen(dns.resolver.Resolver):
        def resolve(self, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
            asked.append(args)
            return super().resolve(*args, **kwargs)

    chosen = Chosen(configure=False)
    chosen.nameservers, chosen.port = [HOST], server.port
    expected = Resolver(name_servers=[HOST], port=server.port)(SRVQuestion("c.example.test"))
    assert not asked
    answers = [Resolver(chosen)(SRVQuestion("c.example.test"))]
    monkeypatch.setattr(dns.resolver, "default_resolver", chosen)
    answers.append(Resolver()(SRVQuestion("c.example.test")))
    for answer in answers:
        assert sorted(answer.hosts) == sorted(expected.hosts)
        assert (answer.txt, answer.ttl_s) == (expected.txt, expected.ttl_s)
    assert sorted(asked) == sorted(
        [("_mongodb._tcp.c.example.test", "SRV"), ("c.example.test", "TXT")] * 2
    )


@pytest.mark.parametrize(
    ("raised", "code", "outcome"),
    [
        (dns.resolver.NXDOMAIN(), "DNS-NXDOMAIN", "NXDOMAIN"),
        (dns.resolver.NoAnswer(), "DNS-NO-SRV", "NOERROR"),
        (dns.resolver.LifetimeTimeout(timeout=1, errors=[]), "DNS-TIMEOUT", "no answer"),
        (ValueError("not today"), "DNS-FAILED", "ValueError"),
    ],
)
def test_what_a_programs_own_resolve_raises(
    raised: Exception, code: str, outcome: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def own(name: str, kind: str, **options: Any) -> list[Any]:
        raise raised

    monkeypatch.setattr(dns.resolver, "resolve", own)
    error = _error(Resolver(), "c.example.test")
    assert error.code == code
    outcomes = {each.outcome for each in error.attempts if each.question == SRV_RECORD}
    assert outcomes == {outcome}
    if isinstance(raised, ValueError):
        assert error.__cause__ is raised
        assert "the program's resolver over dnspython: ValueError (not today)" in str(error)


def test_a_mere_mock_leads_to_no_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As tests do that only want a string to be read."""
    monkeypatch.setattr(dns.resolver, "resolve", unittest.mock.MagicMock())
    uri = "mongodb+srv://u:p@c.example.test/db?w=majority"
    result = parse_uri(uri)
    assert result == pymongo.uri_parser.parse_uri(uri)
    assert result["nodelist"] == []
    with pytest.raises(ConfigurationError, match=r"no host for mongodb\+srv://c.example.test: a"):
        mongokey.MongoClient(uri)
    with pytest.raises(SRVError) as info:
        Resolver().poll(SRVQuestion("c.example.test"))
    assert info.value.code == "DNS-NO-SRV"


def test_a_programs_own_resolve_cannot_outlast_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    monkeypatch.setattr(dns.resolver, "resolve", lambda *args, **kwargs: over.wait())
    try:
        with pytest.raises(SRVError) as info:
            Resolver()(SRVQuestion("c.example.test", timeout=timeout_of(100)))
    finally:
        over.set()
    assert info.value.timeout
    assert "within 0.1 s" in str(info.value)


def test_wrong_resolvers_are_refused() -> None:
    for make in (
        lambda: Resolver(name_servers=HOST),
        lambda: Resolver(object()),  # type: ignore[arg-type]
        lambda: Resolver(dns.resolver.Resolver(configure=False), name_servers=[HOST]),
        lambda: ClientOptions.build("mongodb://h", srv_resolver="8.8.8.8"),
    ):
        with pytest.raises(TypeError, match=r"resolver|name_servers"):
            make()


def test_srv_max_hosts_chooses_at_random(server: DNSServer) -> None:
    chosen = [
        Resolver(name_servers=[HOST], port=server.port, rng=random.Random(seed))(
            SRVQuestion("big.example.test", max_hosts=5)
        ).hosts
        for seed in (1, 1, 2)
    ]
    assert [len(set(hosts)) for hosts in chosen] == [5, 5, 5]
    assert set(chosen[0]) != set(chosen[2])
    every = Resolver(name_servers=[HOST], port=server.port)(SRVQuestion("big.example.test"))
    for hosts in chosen:
        assert set(hosts) < set(every.hosts)
    options = ClientOptions.build(
        "mongodb+srv://big.example.test/?srvMaxHosts=7",
        srv_resolver=Resolver(name_servers=[HOST], port=server.port),
    )
    assert len(options.hosts) == 7


def test_names_outside_ascii_are_asked_for_in_idna(resolver: Resolver) -> None:
    assert resolver(SRVQuestion("Bücher.example.test")).hosts == (("a.example.test", 27017),)


def test_an_alias_is_followed_by_the_name_server(resolver: Resolver) -> None:
    assert resolver(SRVQuestion("alias.example.test")).hosts == (("a.example.test", 27017),)


# ---------------------------------------------------------------- over TCP


def test_a_truncated_answer_is_asked_again_over_tcp(resolver: Resolver) -> None:
    answer = resolver(SRVQuestion("big.example.test"))
    assert len(answer.hosts) == MANY
    assert _outcomes(answer.attempts, "SRV") == [("UDP", "truncated"), ("TCP", "NOERROR")]


GOOD = script.records(
    *_srv("c.example.test", "a.example.test"), 'c.example.test. 30 IN TXT "replicaSet=r"'
)


@pytest.mark.parametrize(
    ("wrong", "outcome"),
    [
        (script.garbage, "malformed"),
        (script.runt, "malformed"),
        (script.echo, "malformed"),
        (script.other_question, "malformed"),
        (script.truncated, "truncated"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_udp_answer_that_does_not_do_is_asked_again_over_tcp(
    wrong: script.Script, outcome: str
) -> None:
    with script.ScriptedDNS(wrong, GOOD) as server:
        answer = Resolver(name_servers=[HOST], port=server.port)(SRVQuestion("c.example.test"))
    assert answer.hosts == (("a.example.test", 27017),)
    assert answer.txt == "replicaSet=r"
    for kind in ("SRV", "TXT"):
        assert _outcomes(answer.attempts, kind) == [("UDP", outcome), ("TCP", "NOERROR")]


def test_an_answer_with_another_id_is_passed_over() -> None:
    with script.ScriptedDNS(script.forged_first(GOOD)) as server:
        answer = Resolver(name_servers=[HOST], port=server.port)(SRVQuestion("c.example.test"))
    assert answer.hosts == (("a.example.test", 27017),)
    assert _outcomes(answer.attempts, "SRV") == [("UDP", "NOERROR")]


def test_malformed_over_tcp_too() -> None:
    with script.ScriptedDNS(script.garbage, script.garbage) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), "c.example.test")
    assert error.code == "DNS-MALFORMED"
    assert "not a DNS message, over UDP nor over TCP" in str(error)
    assert _outcomes(error.attempts, "SRV") == [("UDP", "malformed"), ("TCP", "malformed")]


def test_truncated_and_no_tcp() -> None:
    with script.ScriptedDNS(script.truncated) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), "c.example.test")
    assert error.code == "DNS-UNREACHABLE"
    assert "over UDP: truncated" in str(error)
    assert "over TCP: not reachable (Connection refused)" in str(error)


def test_a_connection_that_is_closed_without_an_answer() -> None:
    with script.ScriptedDNS(script.truncated, script.silent) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), "c.example.test")
    assert error.code == "DNS-UNREACHABLE"
    assert "it closed the connection" in str(error)


# ---------------------------------------------------------------- time


def test_srv_and_txt_are_asked_at_the_same_time() -> None:
    began = time.monotonic()
    with script.ScriptedDNS(script.silent) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), "c.example.test", 600)
        assert sorted(kind for _, kind, _ in server.questions[:2]) == ["SRV", "TXT"]
        # The second question did not wait for the first one's time to be over.
        assert server.times[1] - began < 0.6
    assert error.code == "DNS-TIMEOUT"
    assert error.timeout


def test_silence_is_over_at_the_deadline() -> None:
    with script.ScriptedDNS(script.silent) as silent:
        began = time.monotonic()
        error = _error(Resolver(name_servers=[HOST], port=silent.port), "c.example.test", 500)
        assert 0.5 <= time.monotonic() - began < 5
        with pytest.raises(ConfigurationError, match=r"within 0\.3 s"):
            mongokey.MongoClient(
                "mongodb+srv://c.example.test/?connectTimeoutMS=300",
                srv_resolver=Resolver(name_servers=[HOST], port=silent.port),
            )
    text = str(error)
    assert error.code == "DNS-TIMEOUT"
    assert f"{HOST}:{silent.port} over UDP: no answer" in text
    assert "within 0.5 s (connectTimeoutMS)" in text
    assert "mongodb://host1:27017" in text


def test_a_server_that_drops_srv_questions_only() -> None:
    def drops(question: dns.message.Message) -> list[bytes]:
        return [] if question.question[0].rdtype.name == "SRV" else GOOD(question)

    with script.ScriptedDNS(drops) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), "c.example.test", 500)
    assert "did answer another question meanwhile, so it drops SRV questions" in str(error)


def test_a_silent_txt_question_fails_too() -> None:
    def drops(question: dns.message.Message) -> list[bytes]:
        return [] if question.question[0].rdtype.name == "TXT" else GOOD(question)

    with script.ScriptedDNS(drops) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), "c.example.test", 500)
    assert error.code == "DNS-TIMEOUT"
    assert "TXT record of c.example.test" in str(error)


def test_a_lost_packet_is_sent_again() -> None:
    seen: list[str] = []

    def loses_the_first(question: dns.message.Message) -> list[bytes]:
        kind = question.question[0].rdtype.name
        seen.append(kind)
        return [] if seen.count(kind) == 1 else GOOD(question)

    with script.ScriptedDNS(loses_the_first) as server:
        chosen = dns.resolver.Resolver(configure=False)
        chosen.nameservers, chosen.port, chosen.timeout = [HOST], server.port, 0.2
        answer = Resolver(chosen)(SRVQuestion("c.example.test"))
    assert _outcomes(answer.attempts, "SRV") == [("UDP", "no answer"), ("UDP", "NOERROR")]


def test_the_next_name_server_is_asked(server: DNSServer) -> None:
    with script.ScriptedDNS(script.rcode(dns.rcode.SERVFAIL)) as bad:
        chosen = dns.resolver.Resolver(configure=False)
        chosen.nameservers = [
            dns.nameserver.Do53Nameserver(HOST, bad.port),
            dns.nameserver.Do53Nameserver(HOST, server.port),
        ]
        answer = Resolver(chosen)(SRVQuestion("c.example.test"))
    assert len(answer.hosts) == 3
    assert _outcomes(answer.attempts, "SRV") == [("UDP", "SERVFAIL"), ("UDP", "NOERROR")]


# ---------------------------------------------------------------- what name servers refuse


def test_no_such_name(resolver: Resolver) -> None:
    error = _error(resolver, "gone.example.test")
    assert error.code == "DNS-NXDOMAIN"
    assert error.name == "_mongodb._tcp.gone.example.test"
    assert "was the cluster deleted or renamed" in str(error)
    assert _outcomes(error.attempts, "SRV") == [("UDP", "NXDOMAIN")]
    assert all(isinstance(attempt, Attempt) for attempt in error.attempts)


def test_the_name_of_one_server(resolver: Resolver) -> None:
    text = str(_error(resolver, "one.example.test"))
    assert "one.example.test itself exists" in text
    assert "use mongodb://one.example.test" in text
    text = str(_error(resolver, "c-shard-00-01.example.test"))
    assert "use mongodb://c-shard-00-01.example.test:27017/?tls=true" in text


def test_a_service_name_that_is_not_there(resolver: Resolver) -> None:
    with pytest.raises(SRVError, match="is srvServiceName=customname right"):
        resolver(SRVQuestion("c.example.test", "customname"))


def test_a_name_without_srv_records(resolver: Resolver) -> None:
    error = _error(resolver, "nosrv.example.test")
    assert error.code == "DNS-NO-SRV"
    assert "has no SRV record" in str(error)


@pytest.mark.parametrize("fqdn", ["off.example.test", "portless.example.test"])
def test_a_service_that_is_not_offered(resolver: Resolver, fqdn: str) -> None:
    assert _error(resolver, fqdn).code == "DNS-NO-SERVICE"


def test_servfail(resolver: Resolver) -> None:
    error = _error(resolver, "c.broken.test")
    assert error.code == "DNS-SERVFAIL"
    assert "SERVFAIL" in str(error)
    assert "use another name server" in str(error)


def test_refused(resolver: Resolver) -> None:
    error = _error(resolver, "c.elsewhere.test")
    assert error.code == "DNS-REFUSED"
    assert "refuses to answer this machine" in str(error)


def test_nobody_listens() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
    began = time.monotonic()
    error = _error(Resolver(name_servers=[HOST], port=port), "c.example.test")
    assert error.code == "DNS-UNREACHABLE"
    assert "Connection refused" in str(error)
    # Told at once, not after the time for a lost packet.
    assert time.monotonic() - began < 5


def test_several_causes_are_told_as_they_are(server: DNSServer) -> None:
    with (
        script.ScriptedDNS(script.rcode(dns.rcode.SERVFAIL)) as one,
        script.ScriptedDNS(script.rcode(dns.rcode.REFUSED)) as other,
    ):
        chosen = dns.resolver.Resolver(configure=False)
        chosen.nameservers = [dns.nameserver.Do53Nameserver(HOST, s.port) for s in (one, other)]
        error = _error(Resolver(chosen), "c.example.test")
    assert error.code == "DNS-FAILED"
    assert "SERVFAIL" in str(error)
    assert "REFUSED" in str(error)


def test_no_resolver_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise dns.resolver.NoResolverConfiguration("cannot open /etc/resolv.conf")

    monkeypatch.setattr(dns.resolver, "get_default_resolver", none)
    error = _error(Resolver(), "c.example.test")
    assert error.code == "DNS-NO-RESOLVER"
    assert "cannot open /etc/resolv.conf" in str(error)
    assert "give the hosts with mongodb://" in str(error)
    assert _error(Resolver(name_servers=[]), "c.example.test").code == "DNS-NO-RESOLVER"


# ---------------------------------------------------------------- names and records


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "::1", "fe80::1"])
def test_an_address_is_not_asked_for(address: str) -> None:
    with script.ScriptedDNS(script.silent) as server:
        error = _error(Resolver(name_servers=[HOST], port=server.port), address)
        assert server.questions == []
    assert error.code == "DNS-ADDRESS"
    assert "write mongodb://" in str(error)


@pytest.mark.parametrize("name", ["a..b.c", "x" * 64 + ".example.test", "ü" * 80 + ".test"])
def test_names_that_dns_cannot_be_asked_for(resolver: Resolver, name: str) -> None:
    assert _error(resolver, name).code == "DNS-NAME"


def test_a_txt_record_that_is_no_text(resolver: Resolver) -> None:
    assert _error(resolver, "bytes.example.test").code == "DNS-TXT-TEXT"


@pytest.mark.parametrize("name", ["semicolon", "wrong"])
def test_txt_records_with_wrong_options(resolver: Resolver, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the TXT record of {name}.example.test"):
        parse_uri(f"mongodb+srv://{name}.example.test", resolve=resolver)


def test_hosts_of_another_domain_need_a_suffix(resolver: Resolver) -> None:
    error = _error(resolver, "private.example.test")
    assert error.code == "SRV-HOST-FOREIGN"
    for fact in ("private.example.test", ".internal.corp.test", "example.test", "VPN"):
        assert fact in str(error)
    for suffix in (".internal.corp.test", "corp.test", "Corp.Test."):
        uri = f"mongodb+srv://private.example.test/?srvAllowedHostsSuffix={suffix}"
        assert len(parse_uri(uri, resolve=resolver)["nodelist"]) == 2
    with pytest.raises(SRVError) as caught:
        parse_uri(
            "mongodb+srv://private.example.test",
            resolve=resolver,
            srv_allowed_hosts_suffix="p.test",
        )
    assert caught.value.code == "SRV-HOST-SUFFIX"


def test_a_validator_goes_instead_of_the_domain(resolver: Resolver) -> None:
    seen: list[str] = []

    def allow(host: str) -> bool:
        seen.append(host)
        return True

    options = ClientOptions.build(
        "mongodb+srv://private.example.test", srv_host_validator=allow, _resolve=resolver
    )
    assert sorted(seen) == ["a.internal.corp.test", "b.internal.corp.test"]
    assert len(options.hosts) == 2


def test_dns_waits_for_the_first_operation_where_a_client_connects_later(
    resolver: Resolver, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[SRVQuestion] = []

    def resolve(question: SRVQuestion) -> DNSAnswer:
        asked.append(question)
        return resolver(question)

    uri = "mongodb+srv://gone.example.test/db"
    with mongokey.MongoClient(uri, connect=False, srv_resolver=resolve) as client:
        assert asked == []
        assert client.get_default_database().name == "db"
        assert "mongodb+srv://gone.example.test" in repr(client)
        for count in (1, 2):
            with pytest.raises(SRVError, match="DNS has no name"):
                client.admin.command("ping")
            assert len(asked) == count
    # Wrong strings are told at once all the same.
    with pytest.raises(ConfigurationError, match="port"):
        mongokey.MongoClient("mongodb+srv://gone.example.test:27017", connect=False)
    monkeypatch.setenv("AWS_EXECUTION_ENV", "AWS_Lambda_python3.12")
    mongokey.MongoClient(uri, srv_resolver=resolve).close()
    assert len(asked) == 2


def test_a_client_that_connects_later_finds_its_hosts(resolver: Resolver) -> None:
    with mongokey.MongoClient(
        "mongodb+srv://c.example.test/?serverSelectionTimeoutMS=300&tls=false",
        connect=False,
        srv_resolver=resolver,
    ) as client:
        assert client.options.hosts == ()
        with pytest.raises(mongokey.errors.ServerSelectionTimeoutError, match=r"\.example\.test"):
            client.admin.command("ping")
        assert len(client.options.hosts) == 3
        assert client.options.replica_set_name == "rs0"
