"""`mongokey explain`: what it says of a connection string, and that it says no secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from mongokey.cli.app import cli
from mongokey.cli.explain import HIDDEN, explain
from mongokey.errors import InvalidURI
from mongokey.options.table import OPTIONS

FULL = (
    "mongodb://us%40r:p%40ssw0rd@db1.example,[::1]:3000/shop"
    "?maxPoolSize=20&connectTimeoutMS=500&socketTimeoutMS=0&localThresholdMS=2.5"
    "&tls=true&tlsCertificateKeyFile=%2Fcert.pem&tlsCertificateKeyFilePassword=keypass"
    "&readPreference=nearest&readPreferenceTags=dc:ny&uuidRepresentation=standard"
)


def run(*arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(cli, ["explain", *arguments], **options)


def told(uri: str, *arguments: str) -> dict[str, Any]:
    result = run(uri, "--json", *arguments)
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if document["ok"] else 1)
    return document


def options_of(uri: str, *arguments: str) -> dict[str, tuple[Any, str]]:
    return {
        each["name"]: (each["value"], each["origin"]) for each in told(uri, *arguments)["options"]
    }


def test_hosts_database_and_tls() -> None:
    document = told(FULL)

    assert document["hosts"] == ["db1.example:27017", "[::1]:3000"]
    assert document["database"] == "shop"
    assert document["tls"] is True
    assert document["srv_name"] is None


def test_login_says_user_and_where_the_source_came_from() -> None:
    login = told(FULL)["login"]

    assert login["username"] == "us@r"
    assert login["password_given"] is True
    assert login["mechanism"] is None
    assert (login["source"], login["source_origin"]) == ("shop", "the database in the URI's path")


@pytest.mark.parametrize(
    ("uri", "source", "origin"),
    [
        ("mongodb://u:p@h", "admin", "the default"),
        ("mongodb://u:p@h/shop?authSource=staff", "staff", "the authSource option"),
        (
            "mongodb://h/?authMechanism=MONGODB-X509",
            "$external",
            "the only source this mechanism has",
        ),
    ],
)
def test_source_and_origin(uri: str, source: str, origin: str) -> None:
    login = told(uri)["login"]

    assert (login["source"], login["source_origin"]) == (source, origin)


def test_no_login_is_said() -> None:
    assert told("mongodb://h/shop")["login"] is None
    assert "login     none" in run("mongodb://h/shop").stdout


def test_options_are_shown_in_the_unit_of_their_names() -> None:
    options = options_of(FULL)

    assert options["connectTimeoutMS"] == (500, "URI")
    assert options["socketTimeoutMS"] == ("no limit", "URI")
    assert options["localThresholdMS"] == (2.5, "URI")
    assert options["maxPoolSize"] == (20, "URI")
    assert options["uuidRepresentation"] == ("standard", "URI")
    assert options["readPreferenceTags"] == ([{"dc": "ny"}], "URI")


def test_defaults_are_listed_when_asked_for() -> None:
    assert "serverSelectionTimeoutMS" not in options_of(FULL)
    assert options_of(FULL, "--all")["serverSelectionTimeoutMS"] == (30000, "default")


def test_every_default_can_be_shown() -> None:
    listed = options_of("localhost", "--all")

    assert set(listed) == {name for name, row in OPTIONS.items() if row.default is not None}


def test_warnings_have_their_codes_and_are_not_raised() -> None:
    uri = "mongodb://h/?wtimeout=4&maxPoolSize=x&bogus=1"
    found = {each["code"]: each for each in told(uri)["findings"]}

    assert set(found) == {"OPTION-DEPRECATED", "OPTION-INVALID", "OPTION-UNKNOWN"}
    assert {each["confidence"] for each in found.values()} == {"certain"}
    assert {each["docs"] for each in found.values()} == {
        "docs/connection-strings.md#common-mistakes"
    }
    shown = run(uri).stdout
    for code, each in found.items():
        assert f"[{code}, " in shown
        # What is named as a mistake is not told twice.
        if code == "OPTION-INVALID":
            assert f"[{code}, {each['confidence']}] {each['summary']}" in shown
        else:
            assert each["summary"] not in shown


def test_srv_string_says_what_dns_would_be_asked() -> None:
    uri = "mongodb+srv://u:p@cluster0.example.net/shop"
    document = told(uri)

    assert document["hosts"] == []
    assert document["srv_name"] == "_mongodb._tcp.cluster0.example.net"
    assert document["tls"] is True
    assert options_of(uri)["tls"] == (True, "default")
    assert "TXT record may add" in run(uri).stdout


def test_srv_string_names_its_own_service() -> None:
    document = told("mongodb+srv://cluster0.example.net/?srvServiceName=other")

    assert document["srv_name"] == "_other._tcp.cluster0.example.net"


def test_unreadable_string_fails_with_the_client_s_words() -> None:
    uri = "mongodb://us:p@ssw0rd@h"
    with pytest.raises(InvalidURI) as caught:
        explain(uri)
    result = run(uri)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"mongokey: {caught.value}\n")
    document = told(uri)
    mistakes = document.pop("mistakes")
    assert [each["code"] for each in document.pop("diagnoses")] == ["URI-UNESCAPED"]
    assert document == {
        "ok": False,
        "error": "InvalidURI",
        "code": None,
        "message": str(caught.value),
    }
    assert [each["code"] for each in mistakes] == ["URI-UNESCAPED"]
    # The caret stands under the character that is to be escaped.
    lines = result.stderr.splitlines()
    (below,) = (number for number, line in enumerate(lines) if line.strip() == "^")
    assert lines[below - 1][lines[below].index("^")] == "@"
    assert "help: mongodb://us:***@h" in lines[below + 1]


def test_string_is_read_from_standard_input() -> None:
    result = run("-", "--json", input="mongodb://u:p@h/shop\n")

    assert json.loads(result.stdout)["database"] == "shop"


SECRETS = [
    (FULL, ["p@ssw0rd", "p%40ssw0rd", "keypass"]),
    (
        "mongodb://AKIA:s3cretkey@h/?authMechanism=MONGODB-AWS"
        "&authMechanismProperties=AWS_SESSION_TOKEN:t0ken",
        ["s3cretkey", "t0ken"],
    ),
    ("mongodb://us:p/ssw0rd@h", ["ssw0rd"]),
    ("mongodb://us:p@ssw0rd@h", ["ssw0rd"]),
    ("mongodb://us:ssw0rd%0A@h", ["ssw0rd"]),
    ("mongodb://us:ssw0rd@h/?maxPoolSize=x&authMechanism=NOPE", ["ssw0rd"]),
]


@pytest.mark.parametrize(("uri", "secrets"), SECRETS)
def test_no_secret_is_printed(uri: str, secrets: list[str]) -> None:
    for arguments in ([], ["--json"], ["--all"]):
        result = run(uri, *arguments)
        for secret in secrets:
            assert secret not in result.stdout
            assert secret not in result.stderr


def test_hidden_values_are_marked() -> None:
    uri, _ = SECRETS[1]

    assert options_of(uri)["authMechanismProperties"] == (HIDDEN, "URI")
    assert told(uri)["login"]["properties"] == {"AWS_SESSION_TOKEN": HIDDEN}
