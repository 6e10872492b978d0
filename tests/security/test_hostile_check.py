"""`mongokey check` against servers and names that mean it harm: it ends in a report, in time, and
nothing of what they say steers a terminal or fills a screen.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest
from click.testing import CliRunner
from cryptography.x509.oid import NameOID

from mongokey.cli.app import cli
from mongokey.cli.check import hello_step
from mongokey.cli.check.report import bounded
from mongokey.cli.output import make_console
from tests.checks import ANSWERS, check, codes, expect, found, run
from tests.servers.certificates import Authority, make_name
from tests.servers.child import free_port
from tests.servers.dns import HOST
from tests.servers.dns_script import ScriptedDNS
from tests.servers.scripted import (
    Drip,
    Error,
    Login,
    Raw,
    Reply,
    ScriptedServer,
    mongos,
    primary,
    secondary,
    standalone,
)

EVIL = "\x1b[2J\x1b]0;title\x07\r\n\u202e\x9b31m"
# A megabyte of it.
BIG = EVIL * 50_000
STEERS = frozenset("\x1b\x07\r\u202e\x9b")
# What is printed at the most, whatever a server says.
SCREEN = 40_000


def who(**fields: Any) -> Reply:
    return Reply({"ok": 1, "authInfo": fields})


def batch(*listed: Any) -> Reply:
    return Reply({"ok": 1, "cursor": {"id": 0, "ns": "x.$cmd", "firstBatch": list(listed)}})


#: What is answered instead, by command.
RUBBISH: dict[str, Mapping[str, Any]] = {
    "an error": {"find": Error(code=13, message=BIG)},
    "a refusal": {"saslStart": Error(code=18, message=BIG)},
    "an error without a text": {"find": Reply({"ok": 0})},
    "an error that is a number": {"find": Reply({"ok": 0, "errmsg": 7, "code": "x"})},
    "many roles": {
        "connectionStatus": who(
            authenticatedUsers=[{"user": EVIL, "db": BIG}],
            authenticatedUserRoles=[{"role": EVIL, "db": "x"}] * 20_000,
        )
    },
    "users that are none": {
        "connectionStatus": who(authenticatedUsers=[1, None], authenticatedUserRoles="x")
    },
    "no lists of users": {
        "connectionStatus": who(authenticatedUsers=None, authenticatedUserRoles=None)
    },
    "no document of users": {"connectionStatus": Reply({"ok": 1, "authInfo": [1]})},
    "many collections": {"listCollections": batch(*[{"name": EVIL}] * 20_000)},
    "collections that are none": {"listCollections": batch(1, None, "x")},
    "no cursor": {"listCollections": Reply({"ok": 1, "cursor": 7})},
    "a name with a zero byte": {"listCollections": batch({"name": "a\0b"})},
    "a version": {"buildInfo": Reply({"ok": 1, "version": BIG, "modules": 7})},
    "modules": {"buildInfo": Reply({"ok": 1, "version": None, "modules": [{"a": BIG}]})},
    "no message at all": {"find": Raw(b"\x1b" * 5000)},
    "a giant's length": {"hello": Raw(b"\xff\xff\xff\x7f" + b"\x1b" * 3000)},
    "names": {"hello": Reply(primary(setName=BIG, hosts=[EVIL + ":1"], me=EVIL + ":2"))},
    "no name of its own": {"hello": Reply({**primary(), "me": 7, "primary": [1]})},
    "many mechanisms": {"hello": Reply(standalone(saslSupportedMechs=[EVIL, 7, None] * 3000))},
    "odd fields": {"hello": Reply(mongos(localTime="x", topologyVersion=7, lastWrite=3, tags=7))},
    "another login's payload": {
        "saslStart": Reply({"ok": 1, "conversationId": "x", "done": 7, "payload": b"\x1b" * 9999})
    },
    "a login that is over": {
        "saslStart": Reply({"ok": 1, "conversationId": 1, "done": True, "payload": b""})
    },
}


@pytest.mark.parametrize("on", RUBBISH.values(), ids=RUBBISH)
def test_rubbish_ends_in_a_report(on: Mapping[str, Any]) -> None:
    with ScriptedServer(login=Login("ada", "c4nary"), on={**ANSWERS, **on}) as server:
        uri = f"mongodb://ada:c4nary@127.0.0.1:{server.port}/?authSource=admin"
        text = run(uri, "--timeout", "10")
        document = check(uri, timeout=10)
    assert text.exit_code == document["exit"] != 1, text.output
    assert not STEERS & set(text.output)
    assert len(text.output) < SCREEN
    assert len(json.dumps(document)) < 4_000_000
    assert "c4nary" not in text.output + json.dumps(document)


@pytest.mark.parametrize("command", ["hello", "saslStart", "find"])
def test_an_answer_that_drips_ends_with_the_time(command: str) -> None:
    on = {**ANSWERS, command: Drip(Reply(primary()), size=1, pause=0.1)}
    with ScriptedServer(login=Login("ada", "x"), on=on) as server:
        began = time.monotonic()
        document = check(f"mongodb://ada:x@127.0.0.1:{server.port}/?authSource=admin", timeout=0.8)
        took = time.monotonic() - began
    assert document["exit"] == 8
    assert took < 10


@pytest.mark.parametrize("timeout", [1e-6, 1e-3, 0.05])
def test_a_tiny_time_is_enough_for_a_report(timeout: float) -> None:
    with ScriptedServer(on=ANSWERS) as server:
        document = check(f"mongodb://127.0.0.1:{server.port}", timeout=timeout)
    assert document["exit"] in (0, 8)
    if document["failed"] == "tcp":
        # So short a time says nothing about firewalls.
        assert codes(document) == {"TCP-TIMEOUT": "possible"}


@pytest.mark.parametrize("timeout", ["nan", "inf", "-1", "0", "soon", "1e400"])
def test_a_time_that_is_none_is_wrong_usage(timeout: str) -> None:
    result = run("mongodb://127.0.0.1:1", f"--timeout={timeout}")
    assert result.exit_code == 2
    assert "--timeout" in result.output


def test_a_set_of_thousands_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    real = hello_step._reach
    monkeypatch.setattr(
        hello_step, "_reach", lambda state, hosts: (tried.append(len(hosts)), real(state, hosts))
    )
    port = free_port()
    names = [f"127.0.0.{n % 250 + 1}:{port - n // 250}" for n in range(2000)]
    with ScriptedServer(on=ANSWERS) as server:
        me = f"127.0.0.1:{server.port}"
        server.hello = primary(hosts=[*names, me], me=me)
        document = check(f"mongodb://{me}")
    assert sum(tried) < 100
    assert list(codes(document)).count("TCP-REFUSED") <= 1


def test_members_that_share_a_cause_are_one_line() -> None:
    ports = [free_port() for _ in range(3)]
    with ScriptedServer(on=ANSWERS) as server:
        me = f"127.0.0.1:{server.port}"
        hosts = [me, *(f"127.0.0.1:{port}" for port in ports)]
        server.hello = secondary(hosts=hosts, me=me)
        document = check(f"mongodb://{me}")
    assert document["exit"] == 9
    listed = [each["code"] for each in document["diagnoses"]]
    assert len(listed) == len(set(listed))
    assert all(str(port) in found(document, "TCP-REFUSED")["summary"] for port in ports)


# ---------------------------------------------------------------- names


def txt(text: bytes) -> Callable[[dns.message.Message], list[bytes]]:
    """A name server with this TXT record for everything, and one host."""

    def answer(question: dns.message.Message) -> list[bytes]:
        asked = question.question[0]
        reply = dns.message.make_response(question)
        name = asked.name.to_text()
        if asked.rdtype == dns.rdatatype.SRV:
            made = dns.rrset.from_text(name, 60, "IN", "SRV", "0 0 1 a.c.example.test.")
            reply.answer.append(made)
        elif asked.rdtype == dns.rdatatype.TXT:
            quoted = "".join(f"\\{byte:03d}" for byte in text)
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", f'"{quoted}"'))
        return [reply.to_wire()]

    return answer


@pytest.mark.parametrize("record", [f"authSource={EVIL}", f"{EVIL}=1", EVIL, f"replicaSet={EVIL}"])
def test_a_txt_record_does_not_steer_the_terminal(record: str) -> None:
    with ScriptedDNS(udp=txt(record.encode()), tcp=txt(record.encode())) as server:
        place = ("--name-server", f"{HOST}:{server.port}")
        checked = run("mongodb+srv://ada:c4nary@c.example.test", *place, "--timeout", "5")
        explained = CliRunner().invoke(
            cli, ["explain", "mongodb+srv://ada:c4nary@c.example.test", "--resolve", *place]
        )
    for result in (checked, explained):
        assert result.exit_code in (1, 3, 0), result.output
        assert not STEERS & set(result.output)
        assert "c4nary" not in result.output
    assert checked.exit_code == 3


def test_the_names_of_a_certificate_do_not_steer_the_terminal(tmp_path: Path) -> None:
    import ssl

    evil = "\x1b[2J\x07\u202e"
    name = make_name((NameOID.ORGANIZATION_NAME, evil), (NameOID.COMMON_NAME, evil * 5))
    authority, other = Authority(tmp_path), Authority(tmp_path, "other authority")
    pair = authority.issue("evil", "db.example", subject=name)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.pem)
    with ScriptedServer(tls=served, on=ANSWERS) as server:
        for trusted in (authority, other):
            result = run(
                f"mongodb://127.0.0.1:{server.port}", "--tlsCAFile", trusted.certificate_file
            )
            assert result.exit_code == 5
            assert not STEERS & set(result.output)


def test_a_console_escapes_what_a_terminal_acts_on() -> None:
    console = make_console()
    console.file = io.StringIO()
    console.print(f"a{EVIL}b\nsecond line")
    text = console.file.getvalue()
    assert not STEERS & set(text)
    assert "\\x1b[2J" in text
    assert text.endswith("b\nsecond line\n")


def test_what_is_too_long_is_cut_in_json() -> None:
    cut = bounded({"a": ["x" * 30_000, *range(2000)], "b": (1, None, 2.5), "c": True})
    assert cut["a"][0] == "x" * 20_000 + "... (10000 characters more)"
    assert (len(cut["a"]), cut["a"][-1]) == (1001, "... (1001 more)")
    assert (cut["b"], cut["c"]) == ([1, None, 2.5], True)


# ---------------------------------------------------------------- what is given


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://" + "a" * 100_000 + ":" + "p@" * 50_000 + "@h/",
        "mongodb://h/?" + "&".join(f"noSuchOption{n}=1" for n in range(300)),
        "mongodb://h/?" + "&".join("appname=1" for _ in range(3000)) + "&x",
        "mongodb://" + ",".join(f"-h{n}.invalid:1" for n in range(200)),
        "[" * 100_000,
        "mongodb://" + "[" * 50_000,
        "mongodb://h/" + "%" * 100_000,
    ],
    ids=["password", "options", "same", "hosts", "brackets", "host brackets", "percents"],
)
def test_a_very_long_string_is_read_in_time(uri: str) -> None:
    began = time.monotonic()
    result = run("-", "--timeout", "10", input=uri + "\n")
    assert time.monotonic() - began < 30
    assert result.exit_code in (2, 3)
    assert "p@p@" not in result.output


def test_no_line_on_standard_input_is_wrong_usage() -> None:
    for given in ("", "\n"):
        result = run("-", input=given)
        assert result.exit_code == 2
        assert "standard input" in result.output


# ---------------------------------------------------------------- pipes and encodings


def command(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environment.update(options.pop("env", {}))
    return subprocess.Popen(
        [sys.executable, "-m", "mongokey.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


@pytest.mark.parametrize(
    "arguments", [["check", "--json"], ["check"], ["explain", "--list"]], ids=" ".join
)
def test_a_reader_that_goes_away_is_no_fault(arguments: list[str]) -> None:
    given = ["mongodb://127.0.0.1:1"] if arguments[0] == "check" else []
    process = command(*arguments, *given)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    assert process.wait(30) == 1
    assert errors == b""
    process.stderr.close()


def test_an_encoding_without_a_character_is_no_fault() -> None:
    evil = "\u00e9\u4e2d\U0001f600"
    with ScriptedServer(on={**ANSWERS, "find": Error(code=13, message=evil)}) as server:
        process = command(
            "check", f"mongodb://127.0.0.1:{server.port}/", env={"PYTHONIOENCODING": "ascii"}
        )
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 7, errors
    assert b"FAILED read" in output
    assert b"\\xe9\\u4e2d\\U0001f600" in output
    assert errors == b""


def test_bytes_that_are_no_text_on_standard_input() -> None:
    process = command("check", "-", stdin=subprocess.PIPE)
    output, errors = process.communicate(b"mongodb://ada:c4nary\xff@h\n", timeout=60)
    assert process.returncode == 2
    assert b"URI-INVALID" in output
    assert b"c4nary" not in output + errors


def test_the_time_of_a_refusal_stays_the_cause() -> None:
    """A port where nobody listens is so at once, however little time there is."""
    document = check(f"mongodb://127.0.0.1:{free_port()}", timeout=2)
    expect(document, "TCP-REFUSED", "certain", failed="tcp", exit=4)
