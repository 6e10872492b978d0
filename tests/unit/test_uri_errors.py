"""Errors and advice about connection strings: they teach, and they keep secrets."""

from __future__ import annotations

import warnings

import pytest

from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import parse
from mongokey.uri_parser import parse_uri


def _error(uri: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_uri(uri)
    return str(caught.value)


@pytest.mark.parametrize(
    ("userinfo", "char", "place", "shown"),
    [
        ("me@site.org:XYZ", "'@'", "character 3 of the user name", "me%40site.org:***@h:1/db"),
        ("us@XY:Z", "'@'", "character 3 of the user name", "***:***@h:1/db"),
        ("us@XY", "'@'", "character 3 of the user name", "***@h:1/db"),
        ("user:XY@Z", "'@'", "character 3 of the password", "user:***@h:1/db"),
        ("user:XY:Z", "':'", "character 3 of the password", "user:***@h:1/db"),
        ("user:XY/Z", "'/'", "character 3 of the password", "user:***@h:1/db"),
        ("user:XY?Z", "'?'", "character 3 of the password", "user:***@h:1/db"),
        ("user:XY#Z", "'#'", "character 3 of the password", "user:***@h:1/db"),
        ("user:[XY]", "'['", "character 1 of the password", "user:***@h:1/db"),
        ("user:XY]", "']'", "character 3 of the password", "user:***@h:1/db"),
        ("user:XY%Z", "'%'", "character 3 of the password", "user:***@h:1/db"),
        ("user:12/34", "'/'", "character 3 of the password", "user:***@h:1/db"),
        ("us/er:XYZ", "'/'", "character 3 of the user name", "***:***@h:1/db"),
    ],
)
def test_unescaped_characters_are_named_and_the_string_is_shown_escaped(
    userinfo: str, char: str, place: str, shown: str
) -> None:
    text = _error(f"mongodb://{userinfo}@h:1/db?w=1")
    assert char in text
    assert place in text
    assert f"mongodb://{shown}?..." in text
    assert "username=..., password=..." in text
    assert "XY" not in text


def test_what_may_be_the_rest_of_the_password_is_not_shown() -> None:
    text = _error("mongodb://user:ab?cd@SECRET?more@h/")
    assert "mongodb://user:***@..." in text
    assert "SECRET" not in text
    assert "cd" not in text.replace("quoted", "")


def test_escape_that_is_not_hex_is_explained() -> None:
    assert "%25" in _error("mongodb://user:50%off@h")


@pytest.mark.parametrize(
    ("uri", "needed"),
    [
        ('"mongodb://u:geheim@h"', "quotes or blanks"),
        (" mongodb://u:geheim@h", "quotes or blanks"),
        ("\ufeffmongodb://u:geheim@h", r"\ufeff"),
        ("MONGODB://u:geheim@h", "lower case"),
        ("http://u:geheim@h", "'http://'"),
        ("u:geheim@h", "must begin with"),
        ("u:geheim://h", "must begin with"),
        ("", "empty"),
        ("  ", "empty"),
    ],
)
def test_scheme(uri: str, needed: str) -> None:
    text = _error(uri)
    assert needed in text
    assert "geheim" not in text


def test_a_quote_at_the_end_is_explained() -> None:
    assert "quote" in _error('mongodb://h/db"')
    assert "quotes" in _error('mongodb://h"')


def test_srv_with_port_names_pydantic() -> None:
    assert "pydantic" in _error("mongodb+srv://u:p@a.b.c:27017/db")
    text = _error("mongodb+srv://u:p@a.b.c:27018/db")
    assert "port" in text
    assert "pydantic" not in text


def test_srv_with_several_hosts() -> None:
    assert "exactly one host" in _error("mongodb+srv://a.b.c,d.e.f/")


def test_unix_socket_path_must_be_encoded() -> None:
    assert "%2Ftmp%2Fmongodb-27017.sock" in _error("mongodb:///tmp/mongodb-27017.sock/")


def test_port_error_does_not_show_what_may_be_a_password() -> None:
    assert "geheim" not in _error("mongodb://user:geheim")
    assert "99999" not in _error("mongodb://user:99999")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("maxpolsize", "did you mean maxPoolSize?"),
        ("max_pool_size", "did you mean maxPoolSize?"),
        ("replicaset_", "did you mean replicaSet?"),
        ("ssl_cert_reqs", "tlsAllowInvalidCertificates"),
        ("ssl_ca_certs", "use tlsCAFile"),
        ("auth_source", "authSource"),
        ("useNewUrlParser", "Mongoose"),
        ("document_class", "by keyword"),
    ],
)
def test_unknown_options_say_what_was_meant(name: str, hint: str) -> None:
    assert hint in _error(f"mongodb://h/?{name}=1")
    with pytest.warns(UserWarning, match="ignored") as caught:
        assert parse_uri(f"mongodb://h/?{name}=1", warn=True)["options"] == {}
    assert hint in str(caught[0].message)


def test_a_name_without_likeness_gets_no_hint() -> None:
    assert "did you mean" not in _error("mongodb://h/?zzzqqq=1")


def test_unknown_name_is_hidden_where_it_may_be_a_password() -> None:
    text = _error("mongodb://user:1234?geheim=x@h/")
    assert "geheim" not in text


def test_repeated_options() -> None:
    with pytest.warns(UserWarning, match="replicaSet is given twice"):
        parse_uri("mongodb://h/?replicaSet=a&replicaSet=b")
    assert "different values" in _error("mongodb://h/?tls=true&tls=false")
    assert "different values" in _error("mongodb://h/?ssl=true&tls=false")
    assert "proxyPort is given twice" in _error("mongodb://h/?proxyHost=x&proxyPort=1&proxyPort=1")


def test_deprecated_names() -> None:
    with pytest.warns(DeprecationWarning, match="use wTimeoutMS"):
        assert parse_uri("mongodb://h/?wtimeout=5")["options"] == {"wTimeoutMS": 5}
    for uri in ("mongodb://h/?wtimeout=5&wtimeoutMS=10", "mongodb://h/?wtimeoutMS=10&wtimeout=5"):
        with pytest.warns(DeprecationWarning, match="wtimeout"):
            assert parse_uri(uri)["options"] == {"wTimeoutMS": 10}
    with pytest.warns(DeprecationWarning, match="use journal"):
        assert parse_uri("mongodb://h/?j=true")["options"] == {"journal": True}
    with pytest.warns(DeprecationWarning, match="SERVICE_NAME"):
        options = parse_uri("mongodb://h/?gssapiServiceName=other")["options"]
    assert options == {"authMechanismProperties": {"SERVICE_NAME": "other"}}


def test_raw_plus_is_advice_of_the_client_only() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_uri("mongodb://u:a+b@h")["password"] == "a b"
    assert parse("mongodb://u:a+b@h").raw_plus
    assert not parse("mongodb://u:a%2Bb@h").raw_plus
    with pytest.warns(UserWarning, match=r"'\+' in the password.*%2B"):
        ClientOptions.build("mongodb://u:a+b@h")


@pytest.mark.parametrize(
    ("password", "advice"),
    [
        ("geheim%0A", "newline"),
        ("geheim%20", "ends with a blank"),
        ("%09geheim", "begins with a blank"),
        ("%3Cgeheim%3E", "placeholder"),
        ("geheim%3E", "ends with '>'"),
    ],
)
def test_passwords_that_look_wrong(password: str, advice: str) -> None:
    with pytest.warns(UserWarning, match=advice) as caught:
        ClientOptions.build(f"mongodb://u:{password}@h")
    assert "geheim" not in str(caught[0].message)


def test_a_password_by_keyword_is_looked_at_too() -> None:
    with pytest.warns(UserWarning, match="newline"):
        ClientOptions.build("h", username="u", password="geheim\n")


def test_an_at_sign_in_the_database_must_be_escaped() -> None:
    assert "in the database's name" in _error("mongodb://u:p@h/x@y")
    assert parse("mongodb://u:p@h/x%40y").database == "x@y"


def test_warnings_point_at_the_caller() -> None:
    with pytest.warns(UserWarning, match="unknown option") as caught:
        parse_uri("mongodb://h/?foo=1", warn=True)
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="unknown option") as caught:
        ClientOptions.build("mongodb://h/?foo=1")
    assert caught[0].filename == __file__


def test_empty_auth_source_is_an_error_even_if_errors_are_forgiven() -> None:
    with pytest.raises(ConfigurationError, match="authSource"):
        parse_uri("mongodb://h/?authSource=", warn=True)


def test_an_invalid_uri_is_a_configuration_error() -> None:
    assert issubclass(InvalidURI, ConfigurationError)
