"""Arbitrary connection strings: only documented errors, secrets kept, nothing lost."""

from __future__ import annotations

import os
import warnings
from urllib.parse import quote, quote_plus, unquote_plus

import dns.message
import pymongo.errors
import pymongo.uri_parser as theirs
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mongokey.cli.explain import explain
from mongokey.cli.mistakes import find_mistakes
from mongokey.client_options import ClientOptions
from mongokey.diagnostics import CODES
from mongokey.dns import exchange
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import SRVQuestion, parse
from mongokey.options.escapes import unquote_plus as our_unquote_plus
from mongokey.options.table import OPTIONS
from mongokey.uri_parser import parse_uri

# MONGOKEY_FUZZ=100 looks a hundred times as long.
FACTOR = int(os.environ.get("MONGOKEY_FUZZ", "1"))

_DELIMITERS = list('@:/?#[]%&=;,.+ \n<>"\0')
_WORDS = [
    "%40",
    "%2F",
    "%zz",
    "%E2%82%AC",
    "27017",
    ".sock",
    "localhost",
    "h1",
    "::1",
    "true",
    "ä",
    "mongodb://",
    "mongodb+srv://",
    "w=1",
    "tls=true",
    "authMechanismProperties=A:b",
]
_SYNTAX = st.sampled_from([*_DELIMITERS, *_WORDS, *OPTIONS])
_NOISE = st.one_of(_SYNTAX, st.text(max_size=5))
_ANYTHING = st.lists(_NOISE, max_size=25).map("".join)

# Letters that no message has in this order, so that a piece of four shows a leak.
_PIECE = st.text(alphabet="QXZJKV", min_size=4, max_size=9)
_SPECIAL = st.text(alphabet="@:/?#[]%&=;,.+<>\"' \n$ä", min_size=0, max_size=3)


@st.composite
def _secrets(draw: st.DrawFn) -> str:
    parts = [draw(_SPECIAL)]
    for _ in range(draw(st.integers(1, 3))):
        parts += [draw(_PIECE), draw(_SPECIAL)]
    return "".join(parts)


def _leaks(secret: str, text: str) -> list[str]:
    pieces = {secret[i : i + 4] for i in range(len(secret) - 3)}
    text = text.upper()  # hosts are shown in lower case
    return [piece for piece in pieces if set(piece) <= set("QXZJKV") and piece in text]


def _no_dns(question: SRVQuestion) -> tuple[list[tuple[str, int | None]], str | None]:
    """Stands in for DNS: what is tested here asks nothing."""
    return [("x." + question.fqdn, 27017)], None


def _hosts_of(parsed: dict[str, object]) -> object:
    """What errors of a client, its log and its repr would name."""
    return parsed["nodelist"], parsed["database"], parsed["collection"], parsed["fqdn"]


def _say_everything(uri: str) -> str:
    """All that mongokey says about a string: errors and warnings, of parser and client."""
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for read in (
            lambda: _hosts_of(parse_uri(uri, resolve=_no_dns)),
            lambda: _hosts_of(parse_uri(uri, warn=True, resolve=_no_dns)),
            lambda: ClientOptions.build(uri, _resolve=_no_dns),
            lambda: explain(uri, resolve=_no_dns),
        ):
            try:
                said.append(repr(read()))
            except ConfigurationError as error:
                said.append(f"{error!r} {error}")
    said += [str(warning.message) for warning in caught]
    return "\n".join(said)


@settings(max_examples=600 * FACTOR, deadline=None)
@given(_ANYTHING, st.sampled_from(["", "mongodb://", "mongodb+srv://"]))
def test_only_documented_errors(text: str, scheme: str) -> None:
    uri = scheme + text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for validate in (True, False):
            for warn in (True, False):
                try:
                    parse_uri(uri, validate=validate, warn=warn, resolve=_no_dns)
                except ConfigurationError:
                    continue
        try:
            string = parse(uri, lenient=True)
        except ConfigurationError:
            return
    assert isinstance(str(string), str)


@settings(max_examples=600 * FACTOR, deadline=None)
@given(
    _secrets(),
    st.sampled_from(
        [
            "mongodb://user:{}@host",
            "mongodb://user:{}@host/db?w=1",
            "mongodb://us@er:{}@host:1,host2/db",
            "mongodb://user:{}@host/?replicaSet=my@set&foo=1",
            "mongodb://user:{}@host:99999/?maxPoolSize=x",
            "mongodb://user:{}",
            "mongodb://user:{}@",
            "mongodb+srv://user:{}@a.b.c/",
            "mongodb+srv://user:{}@a.b.c:27017/",
            "mongodb+srv://user:{}@a,b/",
            '"mongodb://user:{}@host"',
            "mongodb:/user:{}@host",
            "user:{}@host",
            "http://user:{}@host",
            "mongodb://user/{}@host",
            "mongodb://user@{}@host",
            # A missing colon, one slash, none, others, a blank, and sockets' names.
            "mongodb//user:{}@%2Ftmp%2Fx.sock",
            "mongodb//user:{}@host/x.sock",
            "mongodb+srv//user:{}@a.b.c/x.sock",
            "mongodb:user:{}@host",
            "mongodb:user:{}@host/x.sock",
            "mongodb:/user:{}@host/x.sock",
            "mongodb;//user:{}@host/",
            "mongodbsrv://user:{}@a.b.c",
            "mongodb+srv:/user:{}@a.b.c",
            "mongodb:\\\\user:{}@host",
            "mongodb: //user:{}@host",
            "mongodb://user: {}@host",
            "MongoDB://user:{}@host",
            "MONGODB+SRV://user:{}@a.b.c",
            "//user:{}@host/x.sock",
            "user:{}@host/x.sock",
            "user:{}@x.sock",
            "mongodb://user%3A{}%40%2Ftmp%2Fx.sock",
            "mongodb://user:{}@h1,h2:1/db.c?w=1&appName=me",
        ]
    ),
)
@example("QXZJ@ZJKV/QXZJ", "mongodb://user:{}@host.test/")
@example("QXZJ@ZJKV:12/QXZJ", "mongodb://user:{}@host.test/")
@example("QXZJ@ZJKV?ZZZZ=1", "mongodb://user:{}@host.test/")
@example("QXZJ@ZJKV?w=1&ZZZZ=1", "mongodb://user:{}@host.test/")
@example("QXZJ@ZJKV?maxPoolSize=ZZZZ", "mongodb://user:{}@host.test/")
@example("QXZJ@ZJKV.sock?ZZZZ=1", "mongodb://user:{}@host.test/")
def test_no_piece_of_a_password_is_ever_said(secret: str, template: str) -> None:
    if template.endswith("{}"):
        # Without a host, the string ends its user information at the password's own '@'.
        secret = secret.replace("@", "")
    uri = template.format(secret)
    said = _say_everything(uri)
    assert not _leaks(secret, said), said


@settings(max_examples=600 * FACTOR, deadline=None)
@example("QXZJ?a=b@QXZK", "mongodb://user:{}@host/db?w=1")
@example("/QXZJ@QXZK?", "mongodb://user:{}@host/db?w=1")
@example(";QXZJ=QXZK", "mongodb://host/?tlsCertificateKeyFilePassword={}&maxPoolsize=x")
@example("&QXZJ=QXZK", "mongodb://host/?tlsCertificateKeyFilePassword={}&maxPoolsize=x")
@example(",QXZJ:QXZK", "mongodb://host/?ssl=true&authMechanismProperties=AWS_SESSION_TOKEN:{}")
@given(
    _secrets(),
    st.sampled_from(
        [
            "mongodb://user:{}@host",
            "mongodb://user:{}@host/db?w=1",
            "mongodb://us@er:{}@host:1,host2/db",
            "mongodb+srv://user:{}@a.b.c:27017/?ssl=true",
            "mongodb://host/?tlsCertificateKeyFilePassword={}&maxPoolsize=x",
            "mongodb://host/?appName=x;proxyPassword={};ssl=true",
            "mongodb://host/?ssl=true&authMechanismProperties=AWS_SESSION_TOKEN:{}",
            '"mongodb://user:{}@host"',
        ]
    ),
)
def test_no_piece_of_a_password_is_shown_by_mistakes(secret: str, template: str) -> None:
    mistakes = find_mistakes(template.format(secret), from_shell=True)
    assert not _leaks(secret, repr(mistakes)), mistakes


@settings(max_examples=400 * FACTOR, deadline=None)
@given(_ANYTHING, st.sampled_from(["", '"', "mongodb://", "mongodb+srv://", "mongodb://u:"]))
def test_mistakes_are_found_in_anything(text: str, start: str) -> None:
    for mistake in find_mistakes(start + text, from_shell=True):
        assert mistake.code in CODES
        carets = [each for each in mistake.evidence if each.strip() == "^"]
        assert len(carets) <= 1
        for caret in carets:
            line = mistake.evidence[mistake.evidence.index(caret) - 1]
            assert len(caret) <= len(line) + 1


@settings(max_examples=300 * FACTOR, deadline=None)
@example("JJJJ&JJJJ=", "tlsCertificateKeyFilePassword")
@given(_secrets(), st.sampled_from(sorted(n for n, option in OPTIONS.items() if option.secret)))
def test_no_piece_of_a_secret_option_is_ever_said(secret: str, name: str) -> None:
    if name == "authMechanismProperties":
        # A comma would end the value and begin the name of a property; names may be shown.
        secret = secret.replace(",", "")
        name += "=AWS_SESSION_TOKEN:"
    said = _say_everything(f"mongodb://user:pw@host/?{name}={secret}&maxPoolSize=x")
    assert not _leaks(secret, said), said


@settings(max_examples=400 * FACTOR, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from([quote_plus, lambda text: quote(text, safe="")]),
)
def test_user_name_and_password_survive(username: str, password: str, escape: object) -> None:
    assert callable(escape)
    string = parse(f"mongodb://{escape(username)}:{escape(password)}@h/db?w=1")
    assert (string.username, string.password) == (username, password)
    assert not string.raw_plus or escape is quote_plus
    shown = repr(string)
    if len(password) >= 4 and password not in f"mongodb://{quote(username)}:***@h:27017/db?w=...":
        assert password not in shown


@settings(max_examples=300 * FACTOR, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.sampled_from(
        ["mongodb://{}@h:1,[::1]:2/db?w=1", "mongodb+srv://{}@a.b.c", "mongodb://{}@%2Fs.sock"]
    ),
)
def test_user_name_and_password_survive_on_every_way(
    username: str, password: str, template: str
) -> None:
    uri = template.format(f"{quote_plus(username)}:{quote_plus(password)}")
    parsed = parse_uri(uri, resolve=_no_dns)
    assert (parsed["username"], parsed["password"]) == (username, password)
    plain = template.replace("{}@", "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a password that ends with a newline is advised about
        for options in (
            ClientOptions.build(uri, _resolve=_no_dns),
            ClientOptions.build(plain, username=username, password=password, _resolve=_no_dns),
        ):
            assert options.credential is not None
            assert options.credential.username == username
            assert options.credential.password == password


@settings(max_examples=400 * FACTOR, deadline=None)
@given(_ANYTHING, st.sampled_from(["", "authSource=", "replicaSet=r&", "loadBalanced=true"]))
def test_a_txt_record_sets_its_three_options_or_none(text: str, start: str) -> None:
    string = parse("mongodb+srv://a.b.c")
    try:
        found = string.with_dns([("x.b.c", 27017)], start + text)
    except ConfigurationError:
        return
    assert found.options.keys() <= {"tls", "authSource", "replicaSet", "loadBalanced"}
    assert found.options["tls"] is True


@settings(max_examples=500 * FACTOR, deadline=None)
@given(st.binary(max_size=80), st.booleans())
def test_any_udp_answer_is_a_message_or_asked_again_over_tcp(wire: bytes, header: bool) -> None:
    request = dns.message.make_query("_mongodb._tcp.a.b.c", "SRV")
    if header:
        wire = request.id.to_bytes(2, "big") + b"\x81\x80" + wire
    try:
        reply = exchange._read(wire, request)
    except exchange._AskOverTCP:
        return
    assert request.is_response(reply)


_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=3)
)


@settings(max_examples=500 * FACTOR, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(sorted(OPTIONS)),
        st.one_of(_VALUES, st.lists(_VALUES, max_size=2), st.dictionaries(st.text(), _VALUES)),
        max_size=4,
    )
)
def test_any_keyword_gives_documented_errors_only(keywords: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ClientOptions.build("mongodb://h", **keywords)
        except (ConfigurationError, TypeError):
            return


@settings(max_examples=400 * FACTOR, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(["%", "%4", "%41", "%C3%A4", "+", "a", "ä"]), st.text())))
def test_unquote_is_urllibs_for_utf8(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        ours = our_unquote_plus(text)
    except InvalidURI:
        assert "\ufffd" in unquote_plus(text)
        return
    assert ours == unquote_plus(text)


_HOST = st.sampled_from(["h", "h:1", "[::1]", "[::1]:2", "A.b.c:3", "%2Ftmp%2Fx.sock"])
_OPTION = st.sampled_from(
    [
        "w=1",
        "w=majority",
        "tls=true",
        "ssl=true",
        "tlsInsecure=true",
        "connectTimeoutMS=100",
        "socketTimeoutMS=0",
        "timeoutMS=5",
        "maxPoolSize=3",
        "readPreference=nearest",
        "readPreferenceTags=dc:a,b:%2B",
        "readPreferenceTags=",
        "replicaSet=a+b",
        "appname=%41%C3%A4",
        "authMechanism=SCRAM-SHA-1",
        "authMechanismProperties=SERVICE_NAME:x%2By",
        "compressors=zlib",
        "uuidRepresentation=pythonLegacy",
        "foo=bar",
        "maxPoolSize=x",
        "journal=",
        "heartbeatFrequencyMS=-1",
    ]
)


@settings(max_examples=500 * FACTOR, deadline=None)
@given(
    st.sampled_from(["", "u@", "u:p@", "u%40:p+%2B@", "%C3%A4:@"]),
    st.lists(_HOST, min_size=1, max_size=4),
    st.sampled_from(["", "/", "/db", "/db.c.d", "/d%3Fb", "/a b"]),
    st.lists(_OPTION, max_size=5),
    st.booleans(),
    st.booleans(),
)
def test_parse_uri_agrees_with_pymongo(
    userinfo: str, hosts: list[str], path: str, options: list[str], warn: bool, normalize: bool
) -> None:
    # Of tls and ssl together we return tls only; a wrong value is one even if given again.
    assume(normalize or not {"tls=true", "ssl=true"} <= set(options))
    assume(not {"maxPoolSize=x", "maxPoolSize=3"} <= set(options))
    uri = f"mongodb://{userinfo}{','.join(hosts)}{path}" + (
        "?" + "&".join(options) if options else ""
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = theirs.parse_uri(uri, warn=warn, normalize=normalize)
        except (pymongo.errors.ConfigurationError, ValueError, TypeError):
            with pytest.raises(ConfigurationError):
                parse_uri(uri, warn=warn, normalize=normalize)
            return
        assert parse_uri(uri, warn=warn, normalize=normalize) == expected
