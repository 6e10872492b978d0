"""`mongokey check`: names, addresses and deployments that do not lead to a server, and why.

Rows B and C of the list of symptoms: a real name server (nsd) or a scripted one, closed and silent
ports, and scripted members of sets; each cause is recognized by code and confidence.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rrset
import pytest

from mongokey._support import container
from tests.checks import ANSWERS, check, codes, expect, found, run, seen, step
from tests.servers.child import free_port
from tests.servers.dns import HOST, DNSServer, require
from tests.servers.dns_script import ScriptedDNS, garbage, silent
from tests.servers.scripted import (
    Close,
    Error,
    Raw,
    Reply,
    ScriptedServer,
    Silence,
    arbiter,
    ghost,
    mongos,
    primary,
    secondary,
    standalone,
    too_new,
    too_old,
)

ZONE = [
    "_mongodb._tcp.c.example.test. 300 IN SRV 0 0 {port} a.c.example.test.",
    "a.c.example.test. IN A 127.0.0.1",
    "alone.c.example.test. IN A 127.0.0.1",
    "c-shard-00-01.example.test. IN A 127.0.0.1",
    "_mongodb._tcp.txt.example.test. IN SRV 0 0 27017 a.c.txt.example.test.",
    'txt.example.test. IN TXT "authSource=admin&tls=false"',
    "_mongodb._tcp.gone.example.test. IN SRV 0 0 27017 gone.c.gone.example.test.",
    "_mongodb._tcp.foreign.example.test. IN SRV 0 0 27017 a.elsewhere.test.",
    "empty.c.example.test. IN TXT nothing",
    "_mongodb._tcp.empty.c.example.test. IN TXT nothing",
]


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever these tests run in."""
    monkeypatch.setattr(container, "MARKS", ())
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)


@pytest.fixture(scope="module")
def behind() -> Iterator[ScriptedServer]:
    """A server that answers everything."""
    with ScriptedServer(on=ANSWERS) as server:
        yield server


@pytest.fixture(scope="module")
def name_server(behind: ScriptedServer) -> Iterator[str]:
    require()
    zone = [line.format(port=behind.port) for line in ZONE]
    with DNSServer({"example.test": zone, "broken.test": None}) as server:
        yield f"{HOST}:{server.port}"


@contextmanager
def black_hole() -> Iterator[int]:
    """A port that takes no further connection, and refuses none."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        held = []
        for _ in range(4):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
            held.append(sock)
        time.sleep(0.05)
        try:
            yield port
        finally:
            for sock in held:
                sock.close()


# ---------------------------------------------------------------- DNS


def test_srv_records_lead_to_a_server(name_server: str) -> None:
    document = check("mongodb+srv://c.example.test/?tls=false", "--name-server", name_server)
    assert document["ok"], document
    facts = step(document, "dns")["facts"]
    assert facts["asked"][0]["server"] == name_server
    assert step(document, "dns")["status"] == "ok"


def test_a_cluster_s_name_that_is_not_there(name_server: str) -> None:
    """Row 10."""
    document = check("mongodb+srv://none.example.test/", "--name-server", name_server)
    first = expect(document, "DNS-NXDOMAIN", "certain", failed="dns", exit=3)
    assert first["evidence"]["name_servers"] == [name_server]


def test_a_host_s_name_in_an_srv_string(name_server: str) -> None:
    """Row 10: the name has an address, and no SRV record."""
    document = check(
        "mongodb+srv://ada:secret@alone.c.example.test/shop", "--name-server", name_server
    )
    first = expect(document, "DNS-ADDRESS-ONLY", "certain", failed="dns", exit=3)
    assert first["fix"].startswith("mongodb://ada:***@alone.c.example.test/shop")
    assert "DNS-NXDOMAIN" in codes(document)


def test_a_shard_s_name_in_an_srv_string(name_server: str) -> None:
    """Row 10."""
    document = check("mongodb+srv://c-shard-00-01.example.test", "--name-server", name_server)
    assert "one server of a cluster" in found(document, "DNS-NXDOMAIN")["fix"]


def test_a_name_without_srv_records(name_server: str) -> None:
    document = check("mongodb+srv://empty.c.example.test", "--name-server", name_server)
    expect(document, "DNS-NO-SRV", "certain", failed="dns", exit=3)


def test_a_cluster_s_name_in_a_plain_string(name_server: str, behind: ScriptedServer) -> None:
    """Row 11."""
    document = check("mongodb://ada:secret@c.example.test/shop", "--name-server", name_server)
    first = expect(document, "DNS-SRV-ONLY", "certain", failed="dns", exit=3)
    assert first["fix"].startswith("mongodb+srv://ada:***@c.example.test/shop")
    assert f"a.c.example.test:{behind.port}" in seen(first)


def test_a_host_without_an_address(name_server: str) -> None:
    document = check("mongodb://none.example.test", "--name-server", name_server)
    expect(document, "DNS-HOST-UNKNOWN", "certain", failed="dns", exit=3)


def test_three_hosts_without_an_address_are_one_line(name_server: str) -> None:
    hosts = ",".join(f"n{number}.example.test" for number in range(3))
    document = check(f"mongodb://{hosts}", "--name-server", name_server)
    first = expect(document, "DNS-HOST-UNKNOWN", "certain", failed="dns", exit=3)
    assert "n0.example.test, n1.example.test, n2.example.test have no address" in first["summary"]
    assert len(document["diagnoses"]) == 1


def test_a_txt_record_with_a_forbidden_option(name_server: str) -> None:
    document = check("mongodb+srv://txt.example.test", "--name-server", name_server)
    expect(document, "DNS-TXT-OPTION", "certain", failed="dns", exit=3)


def test_a_host_of_another_domain(name_server: str) -> None:
    """Row 15."""
    document = check("mongodb+srv://foreign.example.test", "--name-server", name_server)
    first = expect(document, "SRV-HOST-FOREIGN", "certain", failed="dns", exit=3)
    assert "a.elsewhere.test" in first["summary"]


def test_an_srv_target_that_has_no_address(name_server: str) -> None:
    document = check("mongodb+srv://gone.example.test", "--name-server", name_server)
    first = expect(document, "DNS-HOST-UNKNOWN", "certain", failed="dns", exit=3)
    assert "gone.c.gone.example.test" in first["summary"]


def test_a_zone_that_its_server_cannot_load(name_server: str) -> None:
    """Row 12."""
    document = check("mongodb+srv://c.broken.test", "--name-server", name_server)
    expect(document, "DNS-SERVFAIL", "certain", failed="dns", exit=3)


def test_a_name_server_that_refuses(name_server: str) -> None:
    """Row 12."""
    document = check("mongodb+srv://c.not-mine.test", "--name-server", name_server)
    expect(document, "DNS-REFUSED", "certain", failed="dns", exit=3)


def test_a_name_server_that_is_not_there() -> None:
    """Row 12."""
    place = f"127.0.0.1:{free_port()}"
    document = check("mongodb+srv://c.example.test", "--name-server", place)
    expect(document, "DNS-UNREACHABLE", "certain", failed="dns", exit=3)


def test_a_silent_name_server_is_named(behind: ScriptedServer) -> None:
    """Row 12: it drops SRV questions; what it did answer is told."""
    with ScriptedDNS(udp=silent, tcp=silent) as server:
        document = check(
            *("mongodb+srv://c.example.test", "--name-server", f"{HOST}:{server.port}"),
            timeout=1.5,
        )
    first = expect(document, "DNS-TIMEOUT", "certain", failed="dns", exit=8)
    assert f"{HOST}:{server.port} over UDP: no answer" in seen(first)
    assert first["evidence"]["name_servers"] == [f"{HOST}:{server.port}"]


def srv_answer(question: dns.message.Message) -> list[bytes]:
    """The SRV record, an address, or nothing of the kind."""
    asked = question.question[0]
    reply = dns.message.make_response(question)
    name = asked.name.to_text()
    if asked.rdtype == dns.rdatatype.SRV:
        reply.answer.append(
            dns.rrset.from_text(name, 60, "IN", "SRV", f"0 0 {PORT[0]} a.c.example.test.")
        )
    elif asked.rdtype == dns.rdatatype.A:
        reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "127.0.0.1"))
    return [reply.to_wire()]


PORT = [0]


def test_srv_records_that_come_over_tcp_only(behind: ScriptedServer) -> None:
    """Row 13: UDP brings nonsense, TCP the answer."""
    PORT[0] = behind.port

    def udp(question: dns.message.Message) -> list[bytes]:
        if question.question[0].rdtype == dns.rdatatype.A:
            return srv_answer(question)
        return garbage(question)

    with ScriptedDNS(udp=udp, tcp=srv_answer) as server:
        document = check(
            "mongodb+srv://c.example.test/?tls=false", "--name-server", f"{HOST}:{server.port}"
        )
    assert document["ok"], document
    assert found(document, "DNS-TCP-ONLY", "warnings")["confidence"] == "certain"


def test_a_name_server_that_drops_udp(behind: ScriptedServer) -> None:
    """Row 12: the same question over TCP, and the long form of the string."""
    PORT[0] = behind.port
    with ScriptedDNS(udp=silent, tcp=srv_answer) as server:
        document = check(
            *("mongodb+srv://ada:secret@c.example.test/shop", "--name-server"),
            f"{HOST}:{server.port}",
            *("--connectTimeoutMS", "1000"),
            timeout=10,
        )
    first = expect(document, "DNS-TCP-ONLY", "certain", failed="dns", exit=8)
    assert f"mongodb://ada:***@a.c.example.test:{behind.port}/shop?tls=true" in first["fix"]


def test_a_machine_without_a_resolver(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 14."""
    import dns.resolver

    def missing() -> Any:
        raise dns.resolver.NoResolverConfiguration("cannot open /etc/resolv.conf")

    monkeypatch.setattr(dns.resolver, "get_default_resolver", missing)
    document = check("mongodb+srv://c.example.test")
    first = expect(document, "DNS-NO-RESOLVER", "certain", failed="dns", exit=3)
    assert "resolv.conf" in first["summary"]


# ---------------------------------------------------------------- TCP


def test_a_port_where_nobody_listens() -> None:
    document = check(f"mongodb://127.0.0.1:{free_port()}")
    first = expect(document, "TCP-REFUSED", "certain", failed="tcp", exit=4)
    assert "refused" in seen(first)
    assert list(codes(document)) == ["TCP-REFUSED"]


def test_localhost_inside_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 16."""
    mark = tmp_path / ".dockerenv"
    mark.touch()
    monkeypatch.setattr(container, "MARKS", (str(mark),))
    document = check(f"mongodb://localhost:{free_port()}")
    assert (document["failed"], document["exit"]) == ("tcp", 4)
    cause = found(document, "TCP-CONTAINER-LOCALHOST")
    assert cause["confidence"] == "likely"
    assert str(mark) in seen(cause)
    assert "host.docker.internal" in cause["fix"]


def test_one_cause_of_three_hosts_is_one_line() -> None:
    ports = [free_port() for _ in range(3)]
    document = check(f"mongodb://{','.join(f'127.0.0.1:{port}' for port in ports)}")
    first = expect(document, "TCP-REFUSED", "certain", failed="tcp", exit=4)
    assert len(document["diagnoses"]) == 1
    assert all(str(port) in first["summary"] for port in ports)


def test_a_host_that_drops_everything() -> None:
    """Row 19: a firewall, or a paused cluster."""
    with black_hole() as port:
        began = time.monotonic()
        document = check(f"mongodb://127.0.0.1:{port}", timeout=1.5)
        took = time.monotonic() - began
    first = expect(document, "TCP-TIMEOUT", "likely", failed="tcp", exit=8)
    assert "timed out" in seen(first)
    assert took < 10


def test_a_name_with_ipv6_first_and_a_server_on_ipv4(
    behind: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 17: ::1 is refused, 127.0.0.1 answers."""
    real = socket.getaddrinfo

    def both(host: Any, *arguments: Any, **options: Any) -> Any:
        if host != "db.localhost":
            return real(host, *arguments, **options)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", 0, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0)),
        ]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    document = check(f"mongodb://db.localhost:{behind.port}")
    assert document["ok"], document
    family = found(document, "TCP-ONE-FAMILY", "warnings")
    assert family["confidence"] == "certain"
    assert "IPv4 only" in family["summary"]
    assert "127.0.0.1" in family["fix"]


def test_one_host_of_two_is_down(behind: ScriptedServer) -> None:
    server = ScriptedServer(on=ANSWERS, hello=mongos())
    with server:
        document = check(f"mongodb://127.0.0.1:{free_port()},127.0.0.1:{server.port}")
    assert document["ok"], document
    assert found(document, "TCP-REFUSED", "warnings")
    assert step(document, "tcp")["status"] == "warned"


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "mongodb.sock"
    with ScriptedServer(on=ANSWERS, path=str(path)) as server:
        document = check(str(path))
        assert document["ok"], document
        del server
    document = check(str(path))
    expect(document, "TCP-FAILED", "possible", failed="tcp", exit=4)


# ---------------------------------------------------------------- hello and topology


@pytest.mark.parametrize(
    ("offered", "theirs", "used"),
    [
        ("zlib", ["snappy", "zlib"], "zlib"),
        ("zlib", ["snappy"], None),
        ("zlib", None, None),
        (None, ["zlib"], None),
    ],
)
def test_which_compressor_is_used(
    offered: str | None, theirs: list[str] | None, used: str | None
) -> None:
    hello = mongos() if theirs is None else {**mongos(), "compression": theirs}
    with ScriptedServer(on=ANSWERS, hello=hello) as server:
        arguments = () if offered is None else ("--compressors", offered)
        document = check(server.uri(), *arguments)
        assert document["ok"], document
        shown = run(server.uri(), *arguments)
    (fact,) = step(document, "hello")["facts"]["members"]
    if offered is None:
        assert fact["compression"] is None
        assert "compression" not in shown.output
        return
    assert fact["compression"] == {"offered": [offered], "server": theirs or [], "used": used}
    assert (f"compression {used}, of" if used else f"none of {offered}") in shown.output


def member(hello: Any, **options: Any) -> ScriptedServer:
    return ScriptedServer(hello=hello, on=ANSWERS, **options)


def test_a_server_that_never_answers() -> None:
    with ScriptedServer(on={"hello": Silence()}) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}", timeout=1.5)
    first = expect(document, "TOPOLOGY-SILENT", "likely", failed="hello", exit=8)
    assert "took the connection" in first["summary"]


def test_another_protocol() -> None:
    """An HTTP server, which answers in its own way."""
    said = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"
    with ScriptedServer(on={"hello": Raw(said)}) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}")
    first = expect(document, "TOPOLOGY-NO-ANSWER", "likely", failed="hello", exit=9)
    assert "HTTP" in seen(first)


def test_another_set_s_name() -> None:
    """Row 20: the right name is said."""
    with member(primary()) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}/?replicaSet=rs1")
    first = expect(document, "TOPOLOGY-SET-NAME", "certain", failed="hello", exit=9)
    assert "'rs', not 'rs1'" in first["summary"]
    assert first["fix"] == "write replicaSet=rs"


def test_another_set_s_name_with_a_direct_connection() -> None:
    with member(primary()) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}/?replicaSet=rs1&directConnection=true")
    expect(document, "TOPOLOGY-SET-NAME", "certain", failed="hello", exit=9)


def test_a_server_that_is_not_in_a_set() -> None:
    with member(standalone()) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}/?replicaSet=rs1")
    first = expect(document, "TOPOLOGY-NOT-A-SET", "certain", failed="hello", exit=9)
    assert first["fix"] == "leave replicaSet out"


def test_a_set_that_was_never_initiated() -> None:
    """Row 21."""
    with member(ghost()) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}")
    first = expect(document, "TOPOLOGY-UNINITIATED", "certain", failed="hello", exit=9)
    assert "rs.initiate()" in first["fix"]


def test_members_with_names_that_are_not_known_here() -> None:
    """Row 18: the set calls its members by their containers' names."""
    name = "mongo-1.invalid:27017"
    hello = primary(hosts=[name], me=name)
    with member(hello) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}")
    first = expect(document, "TOPOLOGY-MEMBER-NAMES", "certain", failed="hello", exit=9)
    assert name in first["summary"]
    assert f"127.0.0.1:{server.port}" in first["summary"]
    assert "directConnection=true" in first["fix"]


def test_members_that_do_not_answer() -> None:
    """Row 18."""
    port = free_port()
    with ScriptedServer(on=ANSWERS) as server:
        server.hello = secondary(
            hosts=[f"127.0.0.1:{port}", f"127.0.0.1:{server.port}"], me=f"127.0.0.1:{server.port}"
        )
        document = check(f"mongodb://127.0.0.1:{server.port}")
    assert (document["failed"], document["exit"]) == ("hello", 9)
    cause = found(document, "TOPOLOGY-MEMBERS-UNREACHABLE")
    assert cause["confidence"] == "certain"
    assert f"127.0.0.1:{port}" in cause["summary"]
    assert codes(document)["TOPOLOGY-NO-PRIMARY"] == "certain"


def test_no_primary() -> None:
    with ScriptedServer(on=ANSWERS) as one, ScriptedServer(on=ANSWERS) as two:
        hosts = [f"127.0.0.1:{server.port}" for server in (one, two)]
        for server, me in zip((one, two), hosts, strict=True):
            server.hello = secondary(hosts=hosts, me=me)
        document = check(f"mongodb://{hosts[0]}")
        first = expect(document, "TOPOLOGY-NO-PRIMARY", "certain", failed="hello", exit=9)
        assert all(each in seen(first) for each in hosts)
        assert "secondaryPreferred" in first["fix"]
        # Who only reads is served.
        document = check(f"mongodb://{hosts[0]}/?readPreference=secondaryPreferred")
        assert document["ok"], document
        assert found(document, "TOPOLOGY-NO-PRIMARY", "warnings")


def test_no_primary_is_waited_for_without_fail_fast() -> None:
    with ScriptedServer(on=ANSWERS) as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = secondary(hosts=[me], me=me)
        import threading

        def elect() -> None:
            server.hello = primary(hosts=[me], me=me)

        timer = threading.Timer(0.8, elect)
        timer.start()
        document = check(f"mongodb://{me}", "--failFast", "false")
        timer.join()
    assert document["ok"], document


def test_no_member_fits_the_tags() -> None:
    with ScriptedServer(on=ANSWERS) as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = primary(hosts=[me], me=me, tags={"dc": "east"})
        document = check(f"mongodb://{me}/?readPreference=nearest&readPreferenceTags=dc:west")
    first = expect(document, "TOPOLOGY-NO-MATCH", "likely", failed="hello", exit=9)
    assert "'dc': 'east'" in seen(first)


def test_an_arbiter_alone() -> None:
    with ScriptedServer(on=ANSWERS) as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = arbiter(hosts=[], arbiters=[me], me=me)
        document = check(f"mongodb://{me}")
    expect(document, "TOPOLOGY-NO-PRIMARY", "certain", failed="hello", exit=9)


def test_a_standalone_among_several_hosts() -> None:
    with member(standalone()) as one, member(standalone()) as two:
        document = check(f"mongodb://127.0.0.1:{one.port},127.0.0.1:{two.port}")
    expect(document, "TOPOLOGY-MIXED", "certain", failed="hello", exit=9)


def test_a_server_that_is_too_old() -> None:
    """Row 23."""
    with member(too_old()) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}")
    first = expect(document, "TOPOLOGY-SERVER-OLD", "certain", failed="hello", exit=9)
    assert "wire versions up to 2" in first["summary"]
    assert "MongoDB 4.2" in first["summary"]


def test_a_server_that_is_too_new() -> None:
    with member(too_new()) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}")
    expect(document, "TOPOLOGY-SERVER-NEW", "certain", failed="hello", exit=9)


def test_load_balanced_without_a_balancer() -> None:
    with member(mongos()) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}/?loadBalanced=true")
    expect(document, "TOPOLOGY-NOT-BALANCED", "certain", failed="hello", exit=9)


def test_the_endpoint_of_atlas_sql(monkeypatch: pytest.MonkeyPatch) -> None:
    """Row 22: every connection is closed, and the host's name says why."""
    real = socket.getaddrinfo

    def here(host: Any, *arguments: Any, **options: Any) -> Any:
        name = "127.0.0.1" if str(host).endswith("mongodb.net") else host
        return real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    with ScriptedServer(on={"hello": Close()}) as server:
        document = check(f"mongodb://x.a.query.mongodb.net:{server.port}/?tls=true")
    expect(document, "TOPOLOGY-ATLAS-SQL", "likely", failed="tls", exit=5)


# ---------------------------------------------------------------- all hosts


def test_all_hosts_are_logged_in_to() -> None:
    with ScriptedServer(on=ANSWERS) as one, ScriptedServer(on=ANSWERS) as two:
        hosts = [f"127.0.0.1:{server.port}" for server in (one, two)]
        one.hello = primary(hosts=hosts, me=hosts[0])
        two.hello = secondary(hosts=hosts, me=hosts[1])
        assert check(f"mongodb://{hosts[0]}")["ok"]
        assert (one.count("find"), two.count("find")) == (1, 0)
        assert check(f"mongodb://{hosts[0]}", "--all-hosts")["ok"]
        assert (one.count("find"), two.count("find")) == (2, 1)


def test_the_time_runs_out_in_the_middle() -> None:
    """Every wait has the one deadline."""
    with ScriptedServer(on={**ANSWERS, "find": Silence()}) as server:
        began = time.monotonic()
        document = check(f"mongodb://127.0.0.1:{server.port}", timeout=1.0)
        assert time.monotonic() - began < 10
    expect(document, "TCP-LOST", "possible", failed="read", exit=8)


def test_what_a_server_says_does_not_steer_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;title\x07\r\n\u202e\x9b31m"
    answers = {
        **ANSWERS,
        "buildInfo": Reply({"ok": 1, "version": evil, "modules": [evil]}),
        "find": Error(code=13, message=evil),
    }
    with ScriptedServer(on=answers) as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = primary(hosts=[me], me=me, setName=evil, tags={evil: evil})
        result = run(f"mongodb://{me}")
        document = check(f"mongodb://{me}")
    assert result.exit_code == 7
    assert not set("\x1b\x07\r\u202e\x9b") & set(result.output)
    assert evil in document["diagnoses"][0]["evidence"]["answer"]["errmsg"]


def test_hellos_that_make_no_sense_end_in_a_report() -> None:
    for hello in (
        {"ok": 1, "maxWireVersion": "many"},
        {"ok": 1, "isWritablePrimary": True, "setName": 7, "maxWireVersion": 21},
        {"ok": 1, "setName": "rs", "hosts": ["/etc/passwd"], "secondary": True},
        {"ok": 0, "errmsg": "no", "code": 13},
        {"ok": 1, "saslSupportedMechs": 7, "isWritablePrimary": True, "maxWireVersion": 21},
        {},
    ):
        with ScriptedServer(on={**ANSWERS, "hello": Reply(hello)}) as server:
            document = check(f"mongodb://ada:secret@127.0.0.1:{server.port}/", timeout=5)
            assert not document["ok"]
            assert document["diagnoses"]
            assert "secret" not in str(document)


def test_an_argument_that_is_no_text_is_shown_all_the_same() -> None:
    with ScriptedServer(on=ANSWERS) as server:
        for uri in ("mongodb://HOST/\udc80", "mongodb://a\udc80:secret@HOST", "mongodb://\udc80"):
            given = uri.replace("HOST", f"127.0.0.1:{server.port}")
            for arguments in ([], ["--json"]):
                result = run(given, *arguments)
                assert result.exit_code == 2, result.output
                assert "URI-INVALID" in result.output
                assert "secret" not in result.output


def test_what_is_printed_of_a_failure() -> None:
    port = free_port()
    result = run(f"mongodb://ada:secret@127.0.0.1:{port}/shop")
    assert result.exit_code == 4
    text = result.output
    assert f"mongokey check mongodb://ada:***@127.0.0.1:{port}/shop" in text
    assert "secret" not in text
    order = [text.index(f"  {word}") for word in ("seen", "means", "do")]
    assert order == sorted(order)
    assert "tls, hello, login, identity, read: not come to" in text
    assert text.rstrip().endswith("mongokey explain TCP-REFUSED")
    assert "\x1b" not in text
