"""`mongokey check`: what is wrong with a string, its options and its files.

Rows A of the list of symptoms, and the files of TLS: each is produced, and recognized by code and
confidence.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    pkcs12,
)

from tests.checks import ANSWERS, check, codes, expect, found, run, seen, step
from tests.servers.certificates import Authority, Pair, certificate_pem, key_pem
from tests.servers.scripted import Login, ScriptedServer

CANARY = "c4nary-Secret"


@pytest.fixture
def server() -> Any:
    with ScriptedServer(login=Login("ada", CANARY), on=ANSWERS) as server:
        yield server


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("check-files"))


# ---------------------------------------------------------------- strings that cannot be read


@pytest.mark.parametrize("char", ["@", ":", "/", "?", "#", "[", "%"])
def test_a_reserved_character_is_pointed_at(char: str) -> None:
    """Row 1."""
    document = check(f"mongodb://ada:{CANARY}{char}x@db.example/shop")
    first = expect(document, "URI-UNESCAPED", "certain", failed="string", exit=2)
    line, caret = first["evidence"]["seen"][:2]
    assert line[len(caret) - 1] == char
    assert CANARY not in json.dumps(document)


@pytest.mark.parametrize("around", ['"{}"', "'{}'", " {}", "{}\n", "\ufeff{}"])
def test_quotes_and_blanks_around_the_string(around: str) -> None:
    """Row 5."""
    uri = around.format(f"mongodb://ada:{CANARY}@127.0.0.1:1")
    document = check(env={"MONGODB_URI": uri})
    first = found(document, "URI-QUOTED")
    assert first["confidence"] == "certain"
    assert (document["failed"], document["exit"]) == ("string", 2)
    assert first["fix"] == "mongodb://ada:***@127.0.0.1:1"


def test_a_port_in_an_srv_string() -> None:
    """Row 7."""
    document = check(f"mongodb+srv://ada:{CANARY}@c.example.net:27017/shop")
    first = expect(document, "SRV-PORT", "certain", failed="string", exit=2)
    assert "pydantic" in first["summary"]
    assert first["fix"] == "mongodb+srv://ada:***@c.example.net/shop"


def test_what_is_no_connection_string() -> None:
    document = check("postgres://db")
    expect(document, "URI-INVALID", "certain", failed="string", exit=2)


def test_external_without_a_mechanism() -> None:
    """Row 40."""
    document = check(f"mongodb://ada:{CANARY}@127.0.0.1:1/?authSource=$external")
    expect(document, "AUTH-EXTERNAL-MECHANISM", "certain", failed="string", exit=2)


def test_a_wrong_value_by_keyword_is_refused() -> None:
    document = check("mongodb://127.0.0.1:1", "--maxPoolSize", "many")
    expect(document, "OPTION-INVALID", "certain", failed="string", exit=2)


# ---------------------------------------------------------------- what is warned of


def test_a_raw_plus(server: ScriptedServer) -> None:
    """Row 2: the password has a plus, and is read with a blank."""
    server.login = Login("ada", f"{CANARY}+x")
    document = check(f"mongodb://ada:{CANARY}+x@127.0.0.1:{server.port}/?authSource=admin")
    assert (document["failed"], document["exit"]) == ("login", 6)
    plus = found(document, "USERINFO-PLUS")
    assert plus["confidence"] == "possible"
    assert plus["fix"].startswith("mongodb://ada:***@127.0.0.1")
    assert CANARY not in json.dumps(document)


def test_a_newline_at_the_end_of_the_password(server: ScriptedServer) -> None:
    """Row 3."""
    document = check(f"mongodb://ada:{CANARY}%0A@127.0.0.1:{server.port}/?authSource=admin")
    # SCRAM-SHA-256 does not let the character through at all (RFC 4013, 2.3).
    expect(document, "SECRET-BLANK", "likely", failed="login", exit=6)
    server.login = Login("ada", CANARY, mechanisms=("SCRAM-SHA-1",))
    document = check(f"mongodb://ada:{CANARY}%0A@127.0.0.1:{server.port}/?authSource=admin")
    assert document["failed"] == "login"
    assert codes(document)["AUTH-PASSWORD-EDGE"] == "likely"


@pytest.mark.parametrize("password", ["%3Cpassword%3E", "%3C" + CANARY + "%3E", CANARY + "%3E"])
def test_brackets_that_were_left(server: ScriptedServer, password: str) -> None:
    """Row 4."""
    document = check(f"mongodb://ada:{password}@127.0.0.1:{server.port}/?authSource=admin")
    assert document["failed"] == "login"
    assert codes(document)["AUTH-PASSWORD-EDGE"] == "likely"
    assert codes(document)["SECRET-BRACKETS"] == "likely"


def test_a_string_that_the_shell_cut(server: ScriptedServer) -> None:
    """Row 6: behind the first & nothing arrived."""
    document = check(f"mongodb://ada:wrong-pw@127.0.0.1:{server.port}/?retryWrites=true")
    assert document["failed"] == "login"
    cut = found(document, "URI-CUT")
    assert cut["confidence"] == "possible"
    assert "a password of 8 characters" in cut["summary"]
    # From a variable there is no shell to cut it.
    uri = f"mongodb://ada:wrong-pw@127.0.0.1:{server.port}/?retryWrites=true"
    assert "URI-CUT" not in codes(check(env={"MONGODB_URI": uri}))


def test_a_misspelt_option_and_one_given_twice(server: ScriptedServer) -> None:
    """Row 8."""
    document = check(
        f"mongodb://ada:{CANARY}@127.0.0.1:{server.port}/?authSuorce=admin&appname=a&appname=b"
        "&ssl_cert_reqs=CERT_NONE"
    )
    warned = codes(document, "warnings")
    assert warned["OPTION-UNKNOWN"] == "certain"
    assert warned["OPTION-REPEATED"] == "certain"
    assert "authSource" in found(document, "OPTION-UNKNOWN", "warnings")["summary"]


def test_each_option_says_where_it_came_from(server: ScriptedServer) -> None:
    """Row 8: a keyword goes before the string."""
    document = check(
        f"mongodb://ada:{CANARY}@127.0.0.1:{server.port}/?appname=a&authSource=admin",
        *("--appname", "b", "--connectTimeoutMS=1500", "--retryWrites"),
    )
    options = step(document, "string")["facts"]["options"]
    assert options["appname"] == ["b", "keyword"]
    assert options["authSource"] == ["admin", "URI"]
    assert options["connectTimeoutMS"] == [1500, "keyword"]
    assert options["retryWrites"] == [True, "keyword"]
    assert document["ok"]


def test_the_stand_alone_bson_package(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Row 58: a folder bson without son.py stands before PyMongo's."""
    (tmp_path / "bson").mkdir()
    (tmp_path / "bson" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    # What is loaded already would be found first.
    monkeypatch.delitem(sys.modules, "bson")
    document = check(f"mongodb://ada:{CANARY}@127.0.0.1:{server.port}/?authSource=admin")
    conflict = found(document, "ENV-BSON-PACKAGE", "warnings")
    assert conflict["confidence"] == "certain"
    assert sys.executable in conflict["fix"]
    assert document["ok"]


def test_pymongo_s_own_bson_is_no_conflict(server: ScriptedServer) -> None:
    document = check(f"mongodb://ada:{CANARY}@127.0.0.1:{server.port}/?authSource=admin")
    assert document["ok"]
    assert document["warnings"] == []


# ---------------------------------------------------------------- files of TLS


def check_file(path: str, *arguments: str) -> dict[str, Any]:
    listener = ScriptedServer()
    with listener as server:
        return check(
            f"mongodb://127.0.0.1:{server.port}", "--tlsCertificateKeyFile", path, *arguments
        )


def test_the_five_ways_a_key_file_can_be_wrong(authority: Authority, tmp_path: Path) -> None:
    """Row 31."""
    pair, other = authority.issue("client-a"), authority.issue("client-b")
    cases = {
        "TLS-KEY-MISSING": certificate_pem(pair.certificate),
        "TLS-KEY-ENCRYPTED": certificate_pem(pair.certificate) + key_pem(pair.key, CANARY),
        "TLS-KEY-OTHER": certificate_pem(pair.certificate) + key_pem(other.key),
        "TLS-KEY-FORMAT": pair.certificate.public_bytes(Encoding.DER),
        "TLS-KEY-ORDER": certificate_pem(authority.certificate)
        + certificate_pem(pair.certificate)
        + key_pem(pair.key),
    }
    for code, content in cases.items():
        path = tmp_path / f"{code}.pem"
        path.write_bytes(content)
        first = expect(check_file(str(path)), code, "certain", failed="tls", exit=5)
        assert str(path) in first["summary"]
        assert first["fix"], code
    assert len(cases) == 5
    protected = tmp_path / "client.p12"
    protected.write_bytes(
        pkcs12.serialize_key_and_certificates(
            b"x",
            pair.key,
            pair.certificate,
            None,
            BestAvailableEncryption(CANARY.encode()),
        )
    )
    expect(check_file(str(protected)), "TLS-KEY-FORMAT", "certain", failed="tls", exit=5)
    jks = tmp_path / "store.jks"
    jks.write_bytes(b"\xfe\xed\xfe\xed\x00\x00\x00\x02" + bytes(40))
    first = expect(check_file(str(jks)), "TLS-KEY-FORMAT", "certain", failed="tls", exit=5)
    assert "keytool" in first["fix"]


def test_a_wrong_password_of_a_key_is_not_shown(authority: Authority) -> None:
    pair = authority.issue("client-locked")
    path = pair.encrypted_pem(CANARY)
    document = check_file(path, "--tlsCertificateKeyFilePassword", "another-" + CANARY[::-1])
    first = expect(document, "TLS-KEY-ENCRYPTED", "certain", failed="tls", exit=5)
    assert "tlsCertificateKeyFilePassword is wrong" in f"{first['summary']}{first['fix']}"
    assert CANARY[::-1] not in json.dumps(document)


def test_an_expired_client_certificate(authority: Authority) -> None:
    from tests.servers.certificates import DAY

    pair: Pair = authority.issue("client-old", since=-3 * DAY, until=-DAY)
    expect(check_file(pair.pem), "TLS-KEY-DATES", "certain", failed="tls", exit=5)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    document = check_file(str(tmp_path / "none.pem"))
    expect(document, "TLS-FILE", "certain", failed="tls", exit=5)


def test_a_machine_without_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Row 27: neither file nor folder of authorities."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with ScriptedServer() as server:
        document = check(f"mongodb://127.0.0.1:{server.port}", "--tls", "true")
    first = expect(document, "TLS-NO-AUTHORITIES", "certain", failed="tls", exit=5)
    assert sys.executable in seen(first)
    assert "tlsCAFile" in first["fix"]
    assert "Invalid" not in first["fix"]


# ---------------------------------------------------------------- the command line


def test_the_uri_comes_from_standard_input_or_the_environment(server: ScriptedServer) -> None:
    uri = f"mongodb://ada:{CANARY}@127.0.0.1:{server.port}/?authSource=admin"
    assert check("-", input=f"{uri}\n")["ok"]
    assert check(env={"MONGODB_URI": uri})["ok"]
    assert check(uri, env={"MONGODB_URI": "mongodb://127.0.0.1:1"})["ok"]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["mongodb://a", "mongodb://b"],
        ["mongodb://a", "--noSuchOption", "1"],
        ["mongodb://a", "--appname"],
        ["mongodb://a", "--timeout", "0"],
        ["mongodb://a", "--timeout", "soon"],
        ["mongodb://a", "--name-server", "x"],
    ],
)
def test_wrong_usage_has_the_exit_code_2(arguments: list[str]) -> None:
    result = run(*arguments, env={"MONGODB_URI": ""})
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_usage_error_shows_no_secret() -> None:
    result = run(f"mongodb://ada:{CANARY}@a", f"mongodb://ada:{CANARY}@b", "--password", CANARY)
    assert result.exit_code == 2
    assert CANARY not in result.output
