"""`ClientOptions.build`: how host, string and keywords combine, and what follows from them."""

from __future__ import annotations

import datetime
import gc
import pickle
import warnings
from typing import Any

import pytest

from mongokey import client_options
from mongokey.bson.binary import UuidRepresentation
from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.connection_string import SRVQuestion, parse
from mongokey.read_preferences import Nearest, Primary, ReadPreference
from mongokey.write_concern import WriteConcern

build = ClientOptions.build


@pytest.mark.parametrize(
    ("host", "port", "hosts"),
    [
        (None, None, [("localhost", 27017)]),
        (None, 1, [("localhost", 1)]),
        ("h", 1, [("h", 1)]),
        ("a,b:2", None, [("a", 27017), ("b", 2)]),
        (["a", "b:2", "A"], 3, [("a", 3), ("b", 2)]),
        (("a",), None, [("a", 27017)]),
        ("[::1]", None, [("::1", 27017)]),
        ("mongodb://a,b:2", 3, [("a", 3), ("b", 2)]),
        (["mongodb://a", "b"], None, [("a", 27017), ("b", 27017)]),
        ("/tmp/x.sock", None, [("/tmp/x.sock", None)]),
    ],
)
def test_hosts(host: Any, port: int | None, hosts: list[Any]) -> None:
    assert list(build(host, port).hosts) == hosts


@pytest.mark.parametrize("host", [[], "", ["a", ""], ["mongodb://a", "mongodb://b"], "a/b"])
def test_bad_hosts(host: Any) -> None:
    with pytest.raises(ConfigurationError):
        build(host)


@pytest.mark.parametrize(
    ("host", "port"), [(b"h", None), (1, None), ([1], None), ("h", "1"), ("h", True)]
)
def test_wrong_types_of_host_and_port(host: Any, port: Any) -> None:
    with pytest.raises(TypeError):
        build(host, port)


def test_port_out_of_range() -> None:
    with pytest.raises(ConfigurationError, match="port"):
        build("h", 70000)


def test_defaults() -> None:
    options = build()
    pool = options.pool_options
    assert (pool.max_pool_size, pool.min_pool_size, pool.max_connecting) == (100, 0, 2)
    assert (pool.connect_timeout, pool.connect_timeout_ns) == (20.0, 20_000_000_000)
    assert (pool.socket_timeout_ns, pool.wait_queue_timeout_ns, pool.max_idle_time_ns) == (
        None,
    ) * 3
    assert options.server_selection_timeout_ns == 30_000_000_000
    assert options.heartbeat_frequency_ns == 10_000_000_000
    assert options.local_threshold_ns == 15_000_000
    assert (options.timeout, options.timeout_ns) == (None, None)
    assert options.retry_writes is True
    assert options.retry_reads is True
    assert options.read_preference == Primary()
    assert options.write_concern == WriteConcern()
    assert options.read_concern.level is None
    assert options.credential is None
    assert options.tls is None
    assert options.replica_set_name is None
    assert options.direct_connection is None
    assert options.connect is None
    assert options.server_monitoring_mode == "auto"
    assert options.database is None
    assert options.origin("maxPoolSize") == "default"
    assert options.origins == {}


def test_keywords_go_before_the_string_and_the_origin_is_kept() -> None:
    options = build(
        "mongodb://h/db.c?maxPoolSize=3&minPoolSize=1&connectTimeoutMS=100",
        MAXPOOLSIZE=5,
        timeoutMS=0,
        connectTimeoutMS=None,
    )
    assert options.pool_options.max_pool_size == 5
    assert options.pool_options.connect_timeout_ns is None
    assert (options.timeout, options.timeout_ns) == (0.0, 0)
    assert options.origins == {
        "maxPoolSize": "keyword",
        "minPoolSize": "URI",
        "connectTimeoutMS": "keyword",
        "timeoutMS": "keyword",
    }
    assert (options.database, options.collection) == ("db", "c")


def test_none_means_not_given() -> None:
    options = build("mongodb://u:p@h/?replicaSet=rs", username=None, password=None, replicaSet=None)
    assert options.replica_set_name == "rs"
    assert options.credential is not None
    assert options.credential.username == "u"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"maxpolsize": 1}, "did you mean maxPoolSize"),
        ({"maxPoolSize": "x"}, "maxPoolSize"),
        ({"max_pool_size": 1}, "did you mean maxPoolSize"),
        ({"ssl": True, "tls": False}, "same option"),
        ({"host": "mongodb://h/?ssl=true", "tls": False}, "same option"),
        ({"host": "mongodb://h/?tls=true", "ssl": False}, "same option"),
        ({"host": "mongodb://h/?ssl=false", "tls": True}, "same option"),
        ({"minPoolSize": 5, "maxPoolSize": 3}, "minPoolSize"),
        ({"heartbeatFrequencyMS": 100}, "500"),
        ({"proxyHost": "x"}, "SOCKS5"),
        ({"w": 0, "journal": True}, "w=0"),
        ({"readPreferenceTags": "a:b"}, "readPreferenceTags"),
        ({"maxStalenessSeconds": 100}, "maxStalenessSeconds"),
        ({"tlsInsecure": True, "tlsAllowInvalidHostnames": True}, "together"),
        ({"tls": False, "tlsCAFile": "x"}, "tls=false"),
        ({"directConnection": True, "host": ["a", "b"]}, "directConnection"),
        ({"loadBalanced": True, "replicaSet": "a"}, "loadBalanced"),
        ({"authMechanism": "nope", "username": "u"}, "authMechanism"),
        ({"password": "x"}, "username"),
    ],
)
def test_wrong_keywords_raise(keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(**keywords)


@pytest.mark.parametrize("query", ["authMechanism=nope", "tls=yes", "ssl=1"])
def test_wrong_values_that_would_change_the_login_are_not_forgiven(query: str) -> None:
    with pytest.raises(ConfigurationError):
        build(f"mongodb://u:p@h/?{query}")


def test_other_wrong_values_of_the_string_are_ignored_with_a_warning() -> None:
    with pytest.warns(UserWarning, match="maxPoolSize"):
        options = build("mongodb://h/?maxPoolSize=x")
    assert options.pool_options.max_pool_size == 100


def test_deprecated_keywords() -> None:
    with pytest.warns(DeprecationWarning, match="wTimeoutMS"):
        assert build(wtimeout=3).write_concern.document == {"wtimeout": 3}
    with pytest.warns(DeprecationWarning, match="SERVICE_NAME"):
        options = build(username="u", authMechanism="GSSAPI", gssapiServiceName="x")
    assert options.credential is not None
    assert options.credential.mechanism_properties["SERVICE_NAME"] == "x"


# ---------------------------------------------------------------- credential


def _credential(host: str | None = None, **keywords: Any) -> tuple[Any, ...] | None:
    made = build(host, **keywords).credential
    return made and (made.mechanism, made.source, made.username, made.password)


def test_credentials() -> None:
    assert _credential("mongodb://h/db") is None
    assert _credential("mongodb://h/?authSource=x") is None
    assert _credential("mongodb://u:p@h") == (None, "admin", "u", "p")
    assert _credential("mongodb://u:p@h/db") == (None, "db", "u", "p")
    assert _credential("mongodb://u:p@h/db", authSource="x") == (None, "x", "u", "p")
    assert _credential("mongodb://u:p@h/db", password="q") == (None, "db", "u", "q")
    assert _credential(username="u@:/", password="p%40") == (None, "admin", "u@:/", "p%40")
    assert _credential("mongodb://u:p@h", authMechanism="SCRAM-SHA-1") == (
        "SCRAM-SHA-1",
        "admin",
        "u",
        "p",
    )
    assert _credential("mongodb://CN%3Dx:@h/?authMechanism=MONGODB-X509") == (
        "MONGODB-X509",
        "$external",
        "CN=x",
        None,
    )


def test_missing_password_is_an_error_where_one_is_needed() -> None:
    with pytest.raises(ConfigurationError, match="password"):
        build("mongodb://u@h")


def _resolve(question: SRVQuestion) -> Any:
    return [("x.b.c", 27017)], "authSource=admin&replicaSet=rs"


def test_txt_auth_source_does_not_touch_external_mechanisms() -> None:
    options = build("mongodb+srv://a.b.c/?authMechanism=MONGODB-AWS", _resolve=_resolve)
    assert options.credential is not None
    assert options.credential.source == "$external"
    options = build("mongodb+srv://u:p@a.b.c/db", _resolve=_resolve)
    assert options.credential is not None
    assert options.credential.source == "admin"
    assert options.hosts == (("x.b.c", 27017),)
    assert options.replica_set_name == "rs"
    assert options.tls is not None
    assert options.tls.implied_by is None
    assert options.origin("replicaSet") == "TXT"
    assert options.origin("tls") == "default"


def test_srv_keywords_reach_the_resolver() -> None:
    asked: list[SRVQuestion] = []

    def resolve(question: SRVQuestion) -> Any:
        asked.append(question)
        return [("x.b.c", 27017)], None

    options = build(
        "mongodb+srv://a.b.c/?tls=false",
        _resolve=resolve,
        srvServiceName="svc",
        srvMaxHosts=3,
        srvAllowedHostsSuffix="b.c",
        connectTimeoutMS=1500,
    )
    (question,) = asked
    assert (question.fqdn, question.service_name) == ("a.b.c", "svc")
    assert (question.max_hosts, str(question.timeout)) == (3, "connectTimeoutMS=1500")
    assert (question.allowed_hosts_suffix, question.host_validator) == ("b.c", None)
    assert options.tls is None
    assert (options.srv_service_name, options.srv_max_hosts) == ("svc", 3)


def test_srv_options_need_srv_and_exclude_one_another() -> None:
    with pytest.raises(ConfigurationError, match="srv_host_validator"):
        build("h", srv_host_validator=bool)
    with pytest.raises(ConfigurationError, match="together"):
        build(
            "mongodb+srv://a.b.c/?srvAllowedHostsSuffix=b.c",
            _resolve=_resolve,
            srv_host_validator=bool,
        )


def test_srv_resolver_is_a_keyword() -> None:
    for uri in ("mongodb+srv://a.b.c/?tls=false", "mongodb://h"):
        assert build(uri, srv_resolver=_resolve).hosts
    with pytest.raises(TypeError, match="srv_resolver"):
        build("mongodb+srv://a.b.c/", srv_resolver="10.0.0.1")
    with pytest.raises(ConfigurationError, match="only be given by keyword"):
        parse("mongodb+srv://a.b.c/?srv_resolver=10.0.0.1")


def test_dns_can_be_left_for_later() -> None:
    asked: list[SRVQuestion] = []

    def resolve(question: SRVQuestion) -> Any:
        asked.append(question)
        return [("x.b.c", 27017)], "replicaSet=rs"

    options = build(
        "mongodb+srv://a.b.c/db?w=2", connect=False, srv_resolver=resolve, _may_defer=True
    )
    assert options.needs_dns
    assert (options.hosts, options.database, asked) == ((), "db", [])
    assert options.tls is not None
    found = options.resolved()
    assert found.resolved() is found
    assert not found.needs_dns
    assert found.hosts == (("x.b.c", 27017),)
    assert (found.replica_set_name, found.write_concern.document) == ("rs", {"w": 2})
    assert not build("mongodb+srv://a.b.c", _resolve=_resolve, _may_defer=True).needs_dns
    assert not build("mongodb://a.b.c", connect=False, _may_defer=True).needs_dns


# ---------------------------------------------------------------- TLS


@pytest.mark.parametrize(
    ("query", "implied_by"),
    [
        ("tls=true", None),
        ("ssl=true&tlsCAFile=ca.pem", None),
        ("tlsCAFile=ca.pem", "tlsCAFile"),
        ("tlsCertificateKeyFile=c.pem", "tlsCertificateKeyFile"),
        ("tlsAllowInvalidHostnames=false", "tlsAllowInvalidHostnames"),
    ],
)
def test_tls_is_on(query: str, implied_by: str | None) -> None:
    tls = build(f"mongodb://h/?{query}").tls
    assert tls is not None
    assert tls.implied_by == implied_by
    assert not tls.allow_invalid_certificates


@pytest.mark.parametrize(
    "query", ["tls=false", "tlsInsecure=true", "tlsAllowInvalidHostnames=true"]
)
def test_tls_is_off(query: str) -> None:
    assert build(f"mongodb://h/?{query}").tls is None


def test_tls_insecure_relaxes_everything() -> None:
    tls = build(tls=True, tlsInsecure=True).tls
    assert tls is not None
    assert tls.allow_invalid_certificates
    assert tls.allow_invalid_hostnames
    assert tls.disable_ocsp_endpoint_check


def test_files_are_not_opened() -> None:
    tls = build(tlsCAFile="/nowhere/ca.pem", tlsCertificateKeyFilePassword="geheim").tls
    assert tls is not None
    assert tls.ca_file == "/nowhere/ca.pem"
    assert tls.certificate_key_file_password == "geheim"
    assert "geheim" not in repr(tls)


# ---------------------------------------------------------------- the rest


def test_reads_and_writes() -> None:
    options = build(
        "mongodb://h/?readPreference=nearest&readPreferenceTags=dc:a&maxStalenessSeconds=100"
        "&readConcernLevel=majority&w=2&wTimeoutMS=3&journal=true&retryWrites=false"
    )
    assert options.read_preference == Nearest([{"dc": "a"}], 100)
    assert options.read_concern.document == {"level": "majority"}
    assert options.write_concern.document == {"w": 2, "wtimeout": 3, "j": True}
    assert options.retry_writes is False
    assert build(read_preference=ReadPreference.SECONDARY).read_preference.mode == 2
    with pytest.raises(TypeError, match="read_preference"):
        build(read_preference="secondary")


def test_codec_options_are_made_of_the_options() -> None:
    codec = build(
        "mongodb://h/?uuidRepresentation=standard", tz_aware=True, tzinfo=datetime.timezone.utc
    ).codec_options
    assert codec.uuid_representation == 4
    assert codec.tz_aware is True
    assert codec.tzinfo is datetime.timezone.utc
    options = build()
    assert options.codec_options is options.codec_options


def test_a_client_never_goes_past_a_proxy() -> None:
    with pytest.raises(ConfigurationError, match="SOCKS5"):
        build("mongodb://h/?proxyHost=x")


def test_options_without_effect_are_told() -> None:
    with pytest.warns(UserWarning, match="serverSelectionTryOnce"):
        build("mongodb://h/?serverSelectionTryOnce=true")


def test_client_options_are_immutable_and_hide_secrets() -> None:
    options = build(
        "mongodb://u:geheim1@h", password="geheim3", tlsCertificateKeyFilePassword="geheim4"
    )
    text = repr(options) + repr(options.pool_options) + repr(options.connection_string)
    assert "geheim" not in text
    with pytest.raises(AttributeError):
        options.hosts = ()
    with pytest.raises(AttributeError):
        del options.hosts
    with pytest.raises(TypeError):
        pickle.dumps(options)


def test_findings_are_kept_and_said_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        options = build("mongodb://u+x:p@h/?foo=1&wtimeout=3")
    assert {f.code for f in options.findings} == {
        "OPTION-UNKNOWN",
        "OPTION-DEPRECATED",
        "USERINFO-PLUS",
    }
    assert len(caught) == len(options.findings)


def test_the_string_is_kept_for_those_who_explain_it() -> None:
    options = build("mongodb://h/db")
    assert options.connection_string is not None
    assert str(options.connection_string) == str(parse("mongodb://h/db"))
    assert build("h").connection_string is None
    with pytest.raises(InvalidURI):
        build("http://h")


def test_the_same_plain_arguments_are_read_once() -> None:
    uri = "mongodb://read-once.example:27018/?appName=a"
    first = build(uri, retryWrites=False)
    assert build(uri, retryWrites=False) is first
    assert build(uri, retryWrites=True).retry_writes is True
    # Equal values of other types are other arguments.
    with pytest.raises((TypeError, ConfigurationError)):
        build(uri, retryWrites=0)
    assert build(uri, 27019).hosts == first.hosts
    assert build("read-once.example", 1).hosts != build("read-once.example", 2).hosts
    with pytest.raises(TypeError):
        build("read-once.example", True)


@pytest.mark.parametrize(
    "arguments",
    [
        ("mongodb://u:geheim@h/",),
        (
            "mongodb://h/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:geheim",
        ),
        ("mongodb://h/?tls=true&tlsCertificateKeyFilePassword=geheim&tlsCertificateKeyFile=x",),
        ("mongodb://h/?readPreference=secondary&readPreferenceTags=geheim:1",),
        ("mongodb://h/", {"username": "geheim", "password": "geheim"}),
        ("mongodb://h/", {"password": "geheim", "username": "u", "appname": "a"}),
        ("mongodb://h/?geheim=1",),
    ],
)
def test_arguments_with_a_secret_are_not_kept(arguments: tuple[Any, ...]) -> None:
    uri, keywords = arguments[0], dict(*arguments[1:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            first = build(uri, **keywords)
        except ConfigurationError:
            first = None
        else:
            assert build(uri, **keywords) is not first
    assert "geheim" not in str(list(client_options._known))


def test_a_warning_of_arguments_is_given_each_time() -> None:
    for _ in range(2):
        with pytest.warns(UserWarning, match="serverSelectionTryOnce"):
            build("mongodb://h/?serverSelectionTryOnce=true")


def test_few_arguments_are_kept() -> None:
    for number in range(40):
        build(f"mongodb://few{number}.example")
    assert 0 < len(client_options._known) <= 16


def test_an_option_in_two_spellings_holds_as_given_last() -> None:
    """MongoEngine gives `uuidRepresentation` by itself, and what the user spells otherwise too."""
    given = {"uuidRepresentation": "standard", "uuidrepresentation": "pythonLegacy"}
    with pytest.warns(UserWarning, match="given twice, as uuidRepresentation and as uuid"):
        options = ClientOptions.build("mongodb://localhost", **given)
    assert options.codec_options.uuid_representation == UuidRepresentation.PYTHON_LEGACY


# -- equal arguments with a secret --------------------------------------------------------------

SECRET_URI = "mongodb://ada:Sec%40Ret7@db.example.com/?authSource=app"


def test_equal_arguments_with_a_secret_are_read_once() -> None:
    first = ClientOptions.build(SECRET_URI)
    second = ClientOptions.build(SECRET_URI)
    assert second is not first
    assert second.connection_string is first.connection_string
    assert second.credential == first.credential
    assert second.pool_options.credential is second.credential
    assert second.options == first.options
    # What a client's connections share is each client's own.
    assert second.credential is not None
    assert first.credential is not None
    assert second.credential.state is not first.credential.state


@pytest.mark.parametrize(
    "others",
    [
        {"host": SECRET_URI.replace("Ret7", "Ret8")},
        {"host": SECRET_URI.replace("ada", "bob")},
        {"host": SECRET_URI.replace("authSource=app", "authSource=other")},
        {"port": 27018},
        {"password": "another"},
        {"retryReads": False},
        {"maxPoolSize": 1},
    ],
    ids=str,
)
def test_other_arguments_are_others(others: dict[str, Any]) -> None:
    first = ClientOptions.build(SECRET_URI)
    second = ClientOptions.build(**{"host": SECRET_URI, **others})
    told = [(each.credential, dict(each.options), each.hosts) for each in (first, second)]
    assert told[0] != told[1]


def test_a_keyword_password_counts_too() -> None:
    one = ClientOptions.build("db.example.com", username="ada", password="one")
    two = ClientOptions.build("db.example.com", username="ada", password="two")
    again = ClientOptions.build("db.example.com", username="ada", password="one")
    assert one.credential is not None
    assert two.credential is not None
    assert one.credential.password == "one"
    assert two.credential.password == "two"
    assert again.credential == one.credential


def test_no_secret_is_kept_in_clear_nor_longer_than_a_client_has_it() -> None:
    gc.collect()
    before = len(client_options._with_secrets)
    first = ClientOptions.build(SECRET_URI)
    assert len(client_options._with_secrets) == before + 1
    assert all(type(key) is bytes and len(key) == 32 for key in client_options._with_secrets)
    assert "Ret7" not in repr(list(client_options._known))
    second = ClientOptions.build(SECRET_URI)
    del first
    gc.collect()
    assert len(client_options._with_secrets) == before + 1  # the second client has it
    del second
    gc.collect()
    assert len(client_options._with_secrets) == before


@pytest.mark.parametrize(
    "uri",
    [
        SECRET_URI + "&tls=true",
        "mongodb://user%40REALM@h.example.com/?authMechanism=GSSAPI",
        "mongodb://h.example.com/?authMechanism=MONGODB-X509&tls=true",
        "mongodb://h.example.com/?authMechanism=MONGODB-OIDC"
        "&authMechanismProperties=ENVIRONMENT:azure,TOKEN_RESOURCE:api",
        "mongodb://AKIA:secret@h.example.com/?authMechanism=MONGODB-AWS",
    ],
)
def test_what_may_change_is_read_for_each_client(uri: str) -> None:
    first, second = ClientOptions.build(uri), ClientOptions.build(uri)
    assert second.connection_string is not first.connection_string


def test_warnings_come_for_each_client() -> None:
    for _ in range(2):
        with pytest.warns(UserWarning, match="nosuchoption"):
            ClientOptions.build(SECRET_URI + "&nosuchoption=1")
