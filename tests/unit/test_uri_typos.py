"""Connection strings as people mistype them: refused, with the password in none of what is said;
and names that are no host names, wherever they come from."""

from __future__ import annotations

import warnings

import pytest
from click.testing import CliRunner

from mongokey import MongoClient
from mongokey.auth.oidc.token_source import is_allowed
from mongokey.cli.app import cli
from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import SRVQuestion, parse
from mongokey.uri_parser import parse_host, parse_uri, split_hosts

PIECES = ("sec", "ret7", "word9")

MALFORMED = [
    # A '@' and then a '/', '?' or ':' of the password: the piece between them is no host.
    "mongodb://bob:Sec@Ret7/Word9@h.test/",
    "mongodb://bob:Sec@Ret7/Word9@h.test/db?w=1",
    "mongodb://bob:Sec@Ret7:12/Word9@h.test/",
    "mongodb://bob:Sec@Ret7?Word9@h.test/",
    "mongodb://bob:Sec@Ret7?Word9=1@h.test/",
    "mongodb://bob:Sec@Ret7?w=1&Word9=1@h.test/",
    "mongodb://bob:Sec@Ret7#Word9@h.test/",
    "mongodb+srv://bob:Sec@Ret7/Word9@a.b.test/",
    "mongodb://bob@Sec/Ret7:Word9@h.test/",
    # The scheme, and what follows it.
    "mongodb//bob:SecRet7@%2Ftmp%2Fx.sock",
    "mongodb//bob:SecRet7@h/x.sock",
    "mongodb/bob:SecRet7@h/x.sock",
    "mongodb:/bob:SecRet7@h/x.sock",
    "mongodb:bob:SecRet7@h/x.sock",
    "mongodb:bob:SecRet7@h",
    "mongodb+srv//bob:SecRet7@h/x.sock",
    "mongodb+srv:bob:SecRet7@h.a.b",
    "mongodb+srv:/bob:SecRet7@h.a.b",
    "mongodb-srv://bob:SecRet7@h.a.b",
    "mongodb srv://bob:SecRet7@h.a.b",
    "mongodb;//bob:SecRet7@h",
    "mongodb:\\\\bob:SecRet7@h",
    "mongodb:\\\\bob:SecRet7@h\\x.sock",
    "mongodb: //bob:SecRet7@h",
    "MONGODB://bob:SecRet7@h",
    "Mongodb+Srv://bob:SecRet7@h.a.b",
    "//bob:SecRet7@h/x.sock",
    "bob:SecRet7@h",
    "bob:SecRet7@h/x.sock",
    "bob:SecRet7@x.sock",
    "SecRet7@x.sock",
    "SecRet7@/tmp/x.sock",
    "SecRet7://h",
    # All of it escaped, the login too.
    "mongodb://bob%3ASecRet7%40%2Ftmp%2Fx.sock",
    "mongodb://SecRet7%40%2Ftmp%2Fx.sock",
]


@pytest.mark.parametrize("uri", MALFORMED)
def test_no_piece_of_the_password_is_said_or_looked_up(uri: str) -> None:
    for read in (MongoClient, ClientOptions.build, parse_uri, lambda uri: MongoClient(["h", uri])):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with pytest.raises(InvalidURI) as raised:
                read(uri)
        said = f"{raised.value!r} {[str(each.message) for each in caught]}".lower()
        assert not [piece for piece in PIECES if piece in said], said


@pytest.mark.parametrize("uri", MALFORMED)
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nor_by_explain(uri: str, options: list[str]) -> None:
    result = CliRunner().invoke(cli, ["explain", *options, "--", uri])
    assert result.exit_code == 1
    said = result.output.lower()
    assert not [piece for piece in PIECES if piece in said], said


def test_what_was_meant_is_shown_masked() -> None:
    with pytest.raises(InvalidURI) as caught:
        MongoClient("mongodb://bob:Sec@Ret7/Word9@h.test/")
    assert "mongodb://bob:***@h.test/" in str(caught.value)
    assert "%40" in str(caught.value)


@pytest.mark.parametrize(
    "path", ["/tmp/mongodb-27017.sock", "./x.sock", "run/x.sock", "x.sock", "/run/user@1000/x.sock"]
)
def test_paths_of_sockets_are_still_taken(path: str) -> None:
    assert ClientOptions.build(path).hosts == ((path, None),)
    assert parse_host(path)[0] == path
    assert split_hosts(path) == [(path, None)]


def test_an_at_sign_in_an_option_that_can_be_read_is_taken() -> None:
    options = ClientOptions.build("mongodb://u:p@h/?appName=me@work&replicaSet=a@b&w=1")
    assert options.pool_options.appname == "me@work"


@pytest.mark.parametrize("arguments", [("", ""), ("", None), (None, "")])
def test_an_empty_user_name_and_password_ask_for_no_login(
    arguments: tuple[str | None, str | None],
) -> None:
    username, password = arguments
    client = MongoClient("h.test", username=username, password=password)
    assert client.options.credential is None


def test_an_empty_user_name_with_a_password_is_a_mistake() -> None:
    with pytest.raises(ConfigurationError, match="username is empty"):
        MongoClient("h.test", username="", password="SecRet7")


# ---------------------------------------------------------------- what is no host name

ODD_NAMES = [
    ".",
    "..",
    ".example.com",
    "-a.example.com",
    "a-.example.com",
    "x..y",
    "a" * 64 + ".com",
    ".".join(["a" * 60] * 5),
    "a.b..",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_would_switch_the_check_of_certificates_off_are_refused(name: str) -> None:
    for uri in (f"mongodb://{name}/", f"mongodb://h,{name}:1/?tls=true", f"mongodb+srv://{name}/"):
        with pytest.raises(InvalidURI):
            parse(uri)
    for host in (name, f"{name}:27017", ["h", name]):
        with pytest.raises(InvalidURI):
            MongoClient(host, tls=True)


@pytest.mark.parametrize(
    "name",
    ["h", "a-b.example.com", "_mongo.x_y.test", "example.com.", "256.0.0.1", "xn--mnchen-3ya.de"],
)
def test_others_are_taken(name: str) -> None:
    assert parse(f"mongodb://{name}").hosts == ((name, 27017),)
    assert ClientOptions.build(name).hosts == ((name, 27017),)


@pytest.mark.parametrize(
    "target",
    [
        ("/tmp/x.b.test", 27017),
        ("/tmp/x.sock", None),
        ("x y.b.test", 27017),
        ("u:p@x.b.test", 1),
        (".b.test", 27017),
        ("x.b.test", None),
        ("x.b.test", 0),
        ("x.b.test", 65536),
    ],
)
def test_a_resolver_of_ones_own_cannot_name_paths(target: tuple[str, int | None]) -> None:
    def resolve(question: SRVQuestion) -> tuple[list[tuple[str, int | None]], None]:
        return [("a.b.test", 27017), target], None

    for tls in ("true", "false"):
        with pytest.raises(ConfigurationError, match="DNS names a host"):
            ClientOptions.build(f"mongodb+srv://a.b.test/?tls={tls}", _resolve=resolve)


@pytest.mark.parametrize(
    "host",
    [
        "/tmp/x.mongodb.net",
        "./x.mongodb.net",
        "/tmp/x.sock",
        "u@x.mongodb.net",
        "u:p@x.mongodb.net",
        "x/y.mongodb.net",
        "x y.mongodb.net",
        ".mongodb.net",
        "x..mongodb.net",
        "x.mongodb.net..",
        "x.mongodb.net/",
        "mongodb.net",
        "evilmongodb.net",
        "",
    ],
)
def test_tokens_go_to_host_names_only(host: str) -> None:
    assert not is_allowed(host, ["*.mongodb.net", "localhost"])


def test_hosts_that_are_allowed() -> None:
    for host in ("x.mongodb.net", "X.MongoDB.net", "x.mongodb.net.", "a.b.mongodb.net"):
        # DNS knows no difference between them.
        assert is_allowed(host, ["*.mongodb.net"])
    assert is_allowed("/tmp/x.sock", ["/tmp/x.sock"])
    assert not is_allowed("/TMP/x.sock", ["/tmp/x.sock"])
