"""`MongoClient`'s constructor beside PyMongo's: hosts, credential, default database, and mixtures.

Nothing is connected: PyMongo is told connect=False, and our clients do not connect when made.
"""

from __future__ import annotations

import warnings
from typing import Any

import pymongo
import pymongo.errors
import pytest

import mongokey
from mongokey.errors import ConfigurationError


def _ours(*args: Any, **kwargs: Any) -> mongokey.MongoClient[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return mongokey.MongoClient(*args, **kwargs)


def _theirs(*args: Any, **kwargs: Any) -> pymongo.MongoClient[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pymongo.MongoClient(*args, connect=False, **kwargs)


FORMS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    (("db.example.com",), {}),
    (("db.example.com", 27018), {}),
    (("db.example.com:27019", 27018), {}),
    (("DB.Example.com",), {}),
    (("[::1]",), {}),
    (("[::1]:27020", 27018), {}),
    (("mongodb://%2Ftmp%2Fmongodb-27017.sock/app",), {}),
    (("a,b:1",), {}),
    ((["a", "b:27018", "c"],), {}),
    ((["a", "b"], 27020), {}),
    (("mongodb://a,b:2/app",), {}),
    (("mongodb://a/app", 27021), {}),
    ((["mongodb://a,b:2/app", "c:3"],), {}),
    ((), {"host": "h", "port": 5}),
    ((), {"host": ["h:1", "mongodb://u:p@g:2/app"]}),
    (("mongodb://a?w=1",), {}),
    (("mongodb://a/app.coll",), {}),
    (("mongodb://a/d%C3%A4ta",), {}),
]


@pytest.mark.parametrize(("args", "kwargs"), FORMS)
def test_hosts_and_default_database(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    with _ours(*args, **kwargs) as ours, _theirs(*args, **kwargs) as theirs:
        assert set(ours.options.hosts) == set(theirs._topology_settings.seeds)
        for ask in (
            lambda client: client.get_default_database(),
            lambda client: client.get_database(),
            lambda client: client.get_default_database("other"),
            lambda client: client.get_database("named"),
        ):
            try:
                name = ask(theirs).name
            except pymongo.errors.ConfigurationError:
                with pytest.raises(ConfigurationError, match="default database"):
                    ask(ours)
            else:
                assert ask(ours).name == name


AWS = "authMechanism=MONGODB-AWS"
OIDC = "authMechanism=MONGODB-OIDC"
LOGINS: list[tuple[str, dict[str, Any]]] = [
    ("mongodb://h", {}),
    ("mongodb://h/app", {}),
    ("mongodb://h/?authSource=admin", {}),
    ("mongodb://u:p@h", {}),
    ("mongodb://u:p@h/app", {}),
    ("mongodb://u:p@h/app?authSource=other", {}),
    ("mongodb://u:p@h/app?authMechanism=SCRAM-SHA-1", {}),
    ("mongodb://u:p@h/?authMechanism=SCRAM-SHA-256&authSource=x", {}),
    ("mongodb://u:p@h/?authMechanism=DEFAULT", {}),
    ("mongodb://u%40x:p%2Fw@h/app", {}),
    ("mongodb://u+x:p+w@h/app", {}),
    ("mongodb://u:p@h/?authMechanism=PLAIN", {}),
    ("mongodb://u:p@h/app?authMechanism=PLAIN", {}),
    ("mongodb://u:p@h/app?authMechanism=PLAIN&authSource=ldap", {}),
    ("mongodb://h/app?authMechanism=MONGODB-X509", {}),
    ("mongodb://CN=me@h/?authMechanism=MONGODB-X509&authSource=$external", {}),
    ("mongodb://u%40REALM@h/app?authMechanism=GSSAPI", {}),
    ("mongodb://u@h/?authMechanism=GSSAPI&authMechanismProperties=SERVICE_NAME:x", {}),
    (f"mongodb://h/app?{AWS}", {}),
    (f"mongodb://key:secret@h/app?{AWS}", {}),
    (f"mongodb://key:secret@h/?{AWS}&authMechanismProperties=AWS_SESSION_TOKEN:a%2Bb", {}),
    (f"mongodb://h/?{OIDC}&authMechanismProperties=ENVIRONMENT:gcp,TOKEN_RESOURCE:a%3A%2F%2Fb", {}),
    (f"mongodb://id@h/?{OIDC}&authMechanismProperties=ENVIRONMENT:azure,TOKEN_RESOURCE:a:b", {}),
    (f"mongodb://h/?{OIDC}&authMechanismProperties=ENVIRONMENT:k8s", {}),
    # Keywords go before the string.
    ("mongodb://u:p@h/app", {"username": "other", "password": "word"}),
    ("mongodb://u:p@h/app", {"password": "w@rd/"}),
    ("mongodb://u:p@h/app?authSource=x", {"authSource": "y"}),
    ("mongodb://u:p@h", {"authMechanism": "PLAIN"}),
    ("h", {"username": "u", "password": "p", "authsource": "x"}),
    ("h", {"authMechanism": "MONGODB-X509", "tls": True}),
]


@pytest.mark.parametrize(("uri", "kwargs"), LOGINS)
def test_credentials_are_pymongos(uri: str, kwargs: dict[str, Any]) -> None:
    with _ours(uri, **kwargs) as ours, _theirs(uri, **kwargs) as theirs:
        credential = ours.options.credential
        expected = theirs.options.pool_options._credentials
    if expected is None:
        assert credential is None
        return
    assert credential is not None
    assert credential.mechanism == (None if expected[0] == "DEFAULT" else expected[0])
    # PyMongo keeps "" for a password that was not given.
    assert (credential.source, credential.username) == (expected[1], expected[2])
    assert (credential.password or "") == (expected[3] or "")
    properties = credential.mechanism_properties
    theirs_properties = expected[4]
    for name in ("aws_session_token", "service_name", "environment", "token_resource"):
        value = getattr(theirs_properties, name, None)
        if value is not None and properties.get(name.upper()) is not None:
            assert properties[name.upper()] == value


# What no mechanism takes: the option at fault, what is said of it, and the secret stays unsaid.
MIXTURES = [
    ("mongodb://h/?authMechanism=SCRAM-SHA-256", "username"),
    ("mongodb://u@h/?authMechanism=SCRAM-SHA-256", "password"),
    ("mongodb://u@h", "password"),
    ("mongodb://u:QXZ@h/?authMechanism=SCRAM-SHA-512", "authMechanism"),
    ("mongodb://u:QXZ@h/?authMechanism=MONGODB-CR", "authMechanism"),
    ("mongodb://u:QXZ@h/?authMechanism=MONGODB-X509&tls=true", "password"),
    ("mongodb://h/?authMechanism=MONGODB-X509&authSource=admin", "authSource"),
    ("mongodb://h/?authMechanism=PLAIN", "username"),
    ("mongodb://u@h/?authMechanism=PLAIN", "password"),
    ("mongodb://h/?authMechanism=GSSAPI", "username"),
    ("mongodb://u@h/?authMechanism=GSSAPI&authSource=admin", "authSource"),
    ("mongodb://u@h/?authMechanism=GSSAPI&authMechanismProperties=FOO:bar", "FOO"),
    (f"mongodb://u:QXZ@h/?{AWS}&authSource=admin", "authSource"),
    (f"mongodb://u@h/?{AWS}", "password"),
    (f"mongodb://h/?{AWS}&authMechanismProperties=AWS_SESSION_TOKEN:QXZ", "AWS_SESSION_TOKEN"),
    (f"mongodb://h/?{OIDC}", "authMechanismProperties"),
    (f"mongodb://u:QXZ@h/?{OIDC}&authMechanismProperties=ENVIRONMENT:test", "password"),
    (f"mongodb://h/?{OIDC}&authMechanismProperties=ENVIRONMENT:mars", "ENVIRONMENT"),
    (f"mongodb://h/?{OIDC}&authMechanismProperties=ENVIRONMENT:azure", "TOKEN_RESOURCE"),
    ("mongodb://u:QXZ@h/?authSource=$external", "authMechanism"),
    ("mongodb://u:QXZ@h/?authSource=", "authSource"),
]


@pytest.mark.parametrize(("uri", "named"), MIXTURES)
def test_mixtures_that_no_mechanism_takes(uri: str, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ours(uri)
    text = str(caught.value)
    assert named in text
    assert "QXZ" not in f"{text} {caught.value!r}"
    # In one sentence it says more than "wrong": what is accepted, or what to do.
    assert len(text) > 30


def test_nothing_that_a_client_shows_has_a_secret() -> None:
    uri = (
        "mongodb://user:QXZpassword@h/app?tls=true&tlsCertificateKeyFilePassword=QXZkey"
        "&tlsAllowInvalidHostnames=false"
    )
    with _ours(uri) as client:
        shown = [
            repr(client),
            str(client),
            repr(client.options),
            repr(client.options.pool_options),
            repr(client.options.tls),
            repr(client.options.credential),
            repr(client.options.connection_string),
            str(client.options.connection_string),
            repr(client.get_database()),
        ]
    assert "QXZ" not in " ".join(shown)
    assert "user" in shown[0]


@pytest.mark.parametrize("host", [b"h", [b"h"], 5, {"h": object()}.values()])
def test_hosts_of_the_wrong_type(host: Any) -> None:
    with pytest.raises(TypeError, match="host must be"):
        _ours(host)


@pytest.mark.parametrize(
    ("uri", "keyword", "on"),
    [
        ("mongodb://h/?ssl=true", {"ssl": False}, False),
        ("mongodb://h/?tls=true", {"tls": False}, False),
        ("mongodb://h/?ssl=true", {"tls": True}, True),
    ],
)
def test_tls_of_the_same_name_or_value_is_no_contradiction(
    uri: str, keyword: dict[str, Any], on: bool
) -> None:
    with _ours(uri, **keyword) as client:
        assert (client.options.tls is not None) is on


def test_a_pool_whose_limits_cross_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="minPoolSize"):
        _ours(minPoolSize=5, maxPoolSize=3)


@pytest.mark.parametrize("name", ["MongoClient", "AsyncMongoClient"])
def test_host_and_port_of_the_class_are_the_defaults(name: str) -> None:
    made = type("Ours", (getattr(mongokey, name),), {"HOST": "db.example.com", "PORT": 27999})
    for args, host in (
        ((), ("db.example.com", 27999)),
        (("other",), ("other", 27999)),
        ((None, 5), ("db.example.com", 5)),
    ):
        assert set(made(*args, connect=False).options.hosts) == {host}


def test_listeners_are_shown_as_a_list_of_its_own() -> None:
    listener = mongokey.monitoring.CommandListener()
    with _ours(event_listeners=(listener,)) as client:
        found = client.options.event_listeners
        assert found == [listener]
        found.clear()
        assert client.options.event_listeners == [listener]
    with _ours(event_listeners=[]) as client:
        assert client.options.event_listeners == []
