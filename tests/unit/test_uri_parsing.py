"""What a connection string means: hosts, user information, database, options."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import Any

import pytest

from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import ConnectionString, SRVQuestion, ask_dns, parse
from mongokey.uri_parser import (
    URI_OPTIONS,
    parse_host,
    parse_ipv6_literal_host,
    parse_uri,
    parse_userinfo,
    split_hosts,
    split_options,
    unquote_plus,
    validate_options,
)


@pytest.mark.parametrize(
    ("uri", "hosts"),
    [
        ("mongodb://Example.COM", [("example.com", 27017)]),
        ("mongodb://h:1,h:65535", [("h", 1), ("h", 65535)]),
        ("mongodb://my_service:1", [("my_service", 1)]),
        ("mongodb://[::1]", [("::1", 27017)]),
        ("mongodb://[2001:DB8::1]:3", [("2001:db8::1", 3)]),
        ("mongodb://[FE80::1%25Eth0]:3", [("fe80::1%Eth0", 3)]),
        ("mongodb://%2Ftmp%2FMongoDB.sock/db", [("/tmp/MongoDB.sock", None)]),
        ("mongodb://u:p@%2Fa%2Cb.sock,h", [("/a,b.sock", None), ("h", 27017)]),
        ("mongodb://bücher.example", [("bücher.example", 27017)]),
    ],
)
def test_hosts(uri: str, hosts: list[Any]) -> None:
    assert list(parse(uri).hosts) == hosts


def test_default_port_is_for_hosts_that_name_none() -> None:
    assert parse("mongodb://a,b:2", 1).hosts == (("a", 1), ("b", 2))
    assert parse("mongodb://a", None).hosts == (("a", None),)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://",
        "mongodb:///db",
        "mongodb://u:p@",
        "mongodb://h:0",
        "mongodb://h:65536",
        "mongodb://h:" + "9" * 5000,
        "mongodb://h:1 ",
        "mongodb://h: 1",
        "mongodb://h:+1",
        "mongodb://h:٣",
        "mongodb://h:²",
        "mongodb://h\n",
        "mongodb://[::1",
        "mongodb://[::1]x",
        "mongodb://[]",
        "mongodb://::1",
        "mongodb://a,,b",
        "mongodb://a,",
        'mongodb://h"',
        "mongodb://<host>",
        "mongodb://a b",
        "mongodb://%2Ftmp%2Fa%00.sock",
    ],
)
def test_bad_hosts(uri: str) -> None:
    with pytest.raises(InvalidURI):
        parse(uri)


def test_host_errors_are_value_errors_as_with_pymongo() -> None:
    with pytest.raises(ValueError, match="port of host 2"):
        split_hosts("a,b:x")
    assert split_hosts("/tmp/a.sock,B") == [("/tmp/a.sock", None), ("b", 27017)]
    assert parse_host("H:3") == ("h", 3)
    assert parse_ipv6_literal_host("[::1]:3", 1) == ("::1", "3")
    assert parse_ipv6_literal_host("[::1]", 1) == ("::1", 1)
    with pytest.raises(ValueError, match="IPv6"):
        parse_ipv6_literal_host("[::1", 1)


@pytest.mark.parametrize(
    ("userinfo", "expected"),
    [
        ("user:password", ("user", "password")),
        ("us%3Ar:p%40ss", ("us:r", "p@ss")),
        ("us+er:p+ss", ("us er", "p ss")),
        ("us%2Ber:p%2Bss", ("us+er", "p+ss")),
        ("%C3%A4:%e2%82%ac", ("ä", "€")),
        ("dev%40FOO.COM", ("dev@FOO.COM", "")),
        ("!$&'()*+,;=:x", ("!$&'()* ,;=", "x")),
    ],
)
def test_userinfo(userinfo: str, expected: tuple[str, str]) -> None:
    assert parse_userinfo(userinfo) == expected
    result = parse_uri(f"mongodb://{userinfo}@h")
    assert (result["username"], result["password"]) == expected


@pytest.mark.parametrize("userinfo", ["foo@", ":password", "fo::o:p@ss", ":", "a:%", "a:%4", "%zz"])
def test_bad_userinfo(userinfo: str) -> None:
    with pytest.raises(InvalidURI):
        parse_userinfo(userinfo)
    with pytest.raises(InvalidURI):
        parse(f"mongodb://{userinfo}@h")


def test_no_password_differs_from_an_empty_one() -> None:
    assert parse("mongodb://u@h").password is None
    assert parse("mongodb://u:@h").password == ""
    assert parse("mongodb://h").username is None
    assert parse_uri("mongodb://u@h")["password"] == ""


@pytest.mark.parametrize(
    ("path", "database", "collection"),
    [
        ("", None, None),
        ("db", "db", None),
        ("db.a.b", "db", "a.b"),
        ("my%3Ddb", "my=db", None),
        ("a%3Fb", "a?b", None),
        ('test.name/with "delimiters', "test", 'name/with "delimiters'),
    ],
)
def test_database(path: str, database: str | None, collection: str | None) -> None:
    string = parse(f"mongodb://h/{path}?w=1")
    assert (string.database, string.collection) == (database, collection)


@pytest.mark.parametrize("name", ["a b", "a+b", "a%2Fb", "a%5Cb", 'a"', "$x", "a%00", "a\n", ".c"])
def test_bad_database(name: str) -> None:
    with pytest.raises(InvalidURI, match="database"):
        parse(f"mongodb://h/{name}")


def test_external_in_the_path_is_explained() -> None:
    with pytest.raises(InvalidURI, match=r"authSource=\$external"):
        parse("mongodb://u@h/$external")


def test_slash_before_options_may_be_left_out() -> None:
    assert parse("mongodb://h?w=1").options == {"w": 1}
    assert parse("mongodb://h/?").options == {}
    assert parse("mongodb://h/?w=1;j=true", lenient=True).options == {"w": 1, "journal": True}


@pytest.mark.parametrize("query", ["w", "w=1&", "&w=1", "w=1&&j=1", "w=1&journal=true;tls=true"])
def test_options_must_be_pairs(query: str) -> None:
    with pytest.raises(InvalidURI):
        parse(f"mongodb://h/?{query}")
    with pytest.raises(InvalidURI):
        split_options(query)


def test_a_value_may_contain_equals_signs() -> None:
    assert parse("mongodb://h/?appname=a=b").options == {"appname": "a=b"}


def test_percent_escapes() -> None:
    assert unquote_plus("a%20b+c%2B") == "a b c+"
    assert unquote_plus("%E2%82%ACx%") == "€x%"
    assert unquote_plus("100%25%zz% 1%  ") == "100%%zz% 1%  "
    with pytest.raises(InvalidURI, match=r"appname.*not UTF-8"):
        unquote_plus("%E2%82", "appname")
    with pytest.raises(InvalidURI, match="password"):
        parse("mongodb://u:%FF@h")


def test_a_string_is_immutable_and_hides_its_secrets() -> None:
    string = parse("mongodb://us%40er:geheim@h:1,[::1],%2Fa.sock/db.c?w=1&proxyHost=x")
    assert "geheim" not in repr(string) + str(string)
    assert str(string) == "mongodb://us%40er:***@h:1,[::1]:27017,%2Fa.sock/db.c?w=...&proxyHost=..."
    with pytest.raises(AttributeError):
        string.hosts = ()  # type: ignore[misc]
    with pytest.raises(TypeError):
        string.options["w"] = 2  # type: ignore[index]
    with pytest.raises(TypeError, match="secret"):
        pickle.dumps(string)


# ---------------------------------------------------------------- PyMongo's shape


def test_parse_uri_returns_what_pymongo_does() -> None:
    result = parse_uri(
        "mongodb://u:p@h1,h2:2/db.c?readPreference=secondary&readpreferencetags=dc:a,x:%2B"
        "&readPreferenceTags=&connecttimeoutms=300&TimeoutMS=5&uuidrepresentation=javaLegacy"
        "&localThresholdMS=3&wTimeoutMS=4&ssl=true&maxIdleTimeMS=0"
    )
    assert result == {
        "nodelist": [("h1", 27017), ("h2", 2)],
        "username": "u",
        "password": "p",
        "database": "db",
        "collection": "c",
        "options": {
            "readPreference": "secondary",
            "readPreferenceTags": [{"dc": "a", "x": "+"}, {}],
            "connectTimeoutMS": 0.3,
            "timeoutms": 0.005,
            "uuidrepresentation": 5,
            "localThresholdMS": 3.0,
            "wTimeoutMS": 4,
            "tls": True,
            "maxIdleTimeMS": None,
        },
        "fqdn": None,
    }


def test_normalize_writes_out_tls_insecure() -> None:
    uri = "mongodb://h/?tlsInsecure=true&ssl=true"
    assert parse_uri(uri)["options"] == {
        "tlsInsecure": True,
        "tlsAllowInvalidCertificates": True,
        "tlsAllowInvalidHostnames": True,
        "tlsDisableOCSPEndpointCheck": True,
        "tls": True,
    }
    assert parse_uri(uri, normalize=False)["options"] == {"tlsInsecure": True, "ssl": True}


def test_without_validation_values_stay_as_written() -> None:
    options = parse_uri("mongodb://h/?maxPoolSize=x&Foo=%41&ssl=true", validate=False)["options"]
    assert options == {"maxPoolSize": "x", "foo": "A", "tls": "true"}


def test_split_options_is_case_insensitive() -> None:
    options = split_options("socketTimeoutMS=300&authsource=x")
    assert options == {"sockettimeoutms": 0.3, "AUTHSOURCE": "x"}
    assert options["SocketTimeoutms"] == 0.3
    assert "authSOURCE" in options
    assert list(options) == ["sockettimeoutms", "authsource"]
    options["W"] = 1
    del options["w"]
    assert len(options) == 2
    assert "hunter2" not in repr(split_options("tlsCertificateKeyFilePassword=hunter2"))


def test_validate_options() -> None:
    assert validate_options({"maxPoolSize": "3"}) == {"maxPoolSize": 3}
    with pytest.raises(ValueError, match="maxPoolSize"):
        validate_options({"maxPoolSize": "x"})
    with pytest.warns(UserWarning, match="unknown option"):
        assert validate_options({"nope": "x"}, warn=True) == {}


def test_parse_uri_refuses_other_types() -> None:
    with pytest.raises(TypeError, match="not bytes"):
        parse_uri(b"mongodb://h")  # type: ignore[arg-type]


def test_uri_options_are_those_a_string_may_have() -> None:
    assert "replicaSet" in URI_OPTIONS
    assert "password" not in URI_OPTIONS


# ---------------------------------------------------------------- mongodb+srv


def _resolver(
    hosts: list[tuple[str, int | None]], txt: str | None, asked: list[Any] | None = None
) -> Any:
    def resolve(question: SRVQuestion) -> Any:
        if asked is not None:
            asked.append(question)
        return hosts, txt

    return resolve


def test_srv_is_parsed_without_dns() -> None:
    string = parse("mongodb+srv://u:p@A.b.c/db?w=1")
    assert (string.is_srv, string.fqdn, string.hosts) == (True, "a.b.c", ())
    assert str(string) == "mongodb+srv://u:***@a.b.c/db?w=..."


def test_srv_merges_what_dns_says() -> None:
    asked: list[Any] = []
    resolve = _resolver([("x.b.c", 1)], "authSource=admin&replicaSet=rs", asked)
    result = parse_uri("mongodb+srv://u:p@a.b.c/?authSource=mine&srvServiceName=s", resolve=resolve)
    assert result["nodelist"] == [("x.b.c", 1)]
    assert result["fqdn"] == "a.b.c"
    assert result["options"] == {
        "authSource": "mine",
        "srvServiceName": "s",
        "replicaSet": "rs",
        "tls": True,
    }
    (question,) = asked
    assert (question.fqdn, question.service_name) == ("a.b.c", "s")
    assert (question.max_hosts, str(question.timeout)) == (0, "connectTimeoutMS=20000")
    assert (question.allowed_hosts_suffix, question.host_validator) == (None, None)
    string = parse("mongodb+srv://a.b.c/?w=1").with_dns([("x.b.c", 1)], "replicaSet=rs")
    assert string.origins == {"w": "URI", "replicaSet": "TXT", "tls": "default"}
    assert isinstance(string, ConnectionString)


def test_srv_without_validation() -> None:
    asked: list[Any] = []
    result = parse_uri(
        "mongodb+srv://a.b.c/?srvMaxHosts=2&connectTimeoutMS=500&foo=1",
        validate=False,
        resolve=_resolver([("x.b.c", 1)], None, asked),
    )
    assert (asked[0].max_hosts, str(asked[0].timeout)) == (2, "connectTimeoutMS=500")
    assert result["options"]["foo"] == "1"
    with pytest.raises(ConfigurationError, match="srvMaxHosts"):
        parse_uri("mongodb+srv://a.b.c/?srvMaxHosts=x", validate=False, resolve=_resolver([], None))


def test_srv_tls_can_be_switched_off() -> None:
    string = parse("mongodb+srv://a.b.c/?tls=false").with_dns([("x.b.c", 1)])
    assert string.options == {"tls": False}


@pytest.mark.parametrize("txt", ["tls=false", "authSource=a&w=1", "authSource", "nope=1", ";"])
def test_srv_txt_may_only_hold_three_options(txt: str) -> None:
    with pytest.raises(ConfigurationError):
        parse("mongodb+srv://a.b.c/").with_dns([("x.b.c", 1)], txt)


def test_srv_conflicts_are_found_after_dns() -> None:
    uri = "mongodb+srv://a.b.c/?srvMaxHosts=2"
    with pytest.raises(ConfigurationError, match="replicaSet"):
        parse(uri).with_dns([("x.b.c", 1)], "replicaSet=rs")
    with pytest.raises(ConfigurationError, match="replicaSet"):
        ask_dns(
            parse("mongodb+srv://a.b.c/"),
            _resolver([("x.b.c", 1)], "replicaSet=rs"),
            {"srvMaxHosts": 2},
        )
    with pytest.raises(ConfigurationError, match="loadBalanced"):
        parse("mongodb+srv://a.b.c/").with_dns([("x", 1), ("y", 1)], "loadBalanced=true")


def test_importing_the_parser_is_light() -> None:
    heavy = ["urllib.parse", "ipaddress", "difflib", "ssl", "asyncio", "hashlib", "dataclasses"]
    code = (
        "import sys, mongokey.uri_parser, mongokey.client_options;"
        "mongokey.uri_parser.parse_uri('mongodb://u:p%40@h1,[::1]/db?w=1&tls=true');"
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
