"""The option table: values, ranges, defaults, names, and rules across options."""

from __future__ import annotations

import pathlib
from typing import Any

import pytest
from pymongo import common

from mongokey import MongoClient, uri_parser
from mongokey.errors import ConfigurationError
from mongokey.options import validators
from mongokey.options.connection_string import parse
from mongokey.options.table import LOOKUP, OPTIONS, URI, find


def _value(name: str, text: str) -> Any:
    return parse(f"mongodb://h/?{name}={text}").options[name]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("tls", "true", True),
        ("retryWrites", "false", False),
        ("maxPoolSize", "0", 0),
        ("minPoolSize", "7", 7),
        ("maxConnecting", "1", 1),
        ("connectTimeoutMS", "0", None),
        ("connectTimeoutMS", "1500", 1.5),
        ("connectTimeoutMS", "0.1", 0.0001),
        ("socketTimeoutMS", "0", None),
        ("serverSelectionTimeoutMS", "0", 0.0),
        ("heartbeatFrequencyMS", "500", 0.5),
        ("maxIdleTimeMS", "0", None),
        ("waitQueueTimeoutMS", "5", 0.005),
        ("timeoutMS", "0", 0.0),
        ("localThresholdMS", "0", 0.0),
        ("wTimeoutMS", str(2**40), 2**40),
        ("w", "3", 3),
        ("w", "majority", "majority"),
        ("w", "5.5", "5.5"),
        ("maxStalenessSeconds", "-1", -1),
        ("zlibCompressionLevel", "-1", -1),
        ("compressors", "zstd,zlib", ["zstd", "zlib"]),
        ("readPreference", "secondaryPreferred", "secondaryPreferred"),
        ("uuidRepresentation", "standard", 4),
        ("serverMonitoringMode", "poll", "poll"),
        ("unicode_decode_error_handler", "replace", "replace"),
        ("authMechanism", "SCRAM-SHA-256", "SCRAM-SHA-256"),
        ("authMechanism", "DEFAULT", "DEFAULT"),
        ("authMechanismProperties", "A:b:c,D:%2B", {"A": "b:c", "D": "+"}),
        ("appname", "x" * 128, "x" * 128),
        ("proxyHost", "p", "p"),
    ],
)
def test_values(name: str, text: str, value: Any) -> None:
    assert _value(name, text) == value


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("tls", "yes"),
        ("tls", "True"),
        ("tls", ""),
        ("maxPoolSize", "-1"),
        ("maxPoolSize", "1.5"),
        ("maxPoolSize", str(2**31)),
        ("maxPoolSize", "9" * 5000),
        ("maxConnecting", "0"),
        ("connectTimeoutMS", "0.0"),
        ("connectTimeoutMS", "-1"),
        ("connectTimeoutMS", "inf"),
        ("connectTimeoutMS", "nan"),
        ("connectTimeoutMS", "1e100000"),
        ("heartbeatFrequencyMS", "0"),
        ("waitQueueTimeoutMS", "0"),
        ("w", "-1"),
        ("w", ""),
        ("maxStalenessSeconds", "0"),
        ("zlibCompressionLevel", "10"),
        ("readPreference", "Secondary"),
        ("readPreferenceTags", "dc"),
        ("uuidRepresentation", "nope"),
        ("serverMonitoringMode", "push"),
        ("authMechanism", "SCRAM"),
        ("authMechanismProperties", "A"),
        ("appname", "x" * 129),
        ("appname", "%C3%A4" * 65),
        ("replicaSet", ""),
        ("tlsCAFile", ""),
        ("datetime_conversion", "NOPE"),
    ],
)
def test_wrong_values_name_the_option(name: str, text: str) -> None:
    uri = f"mongodb://h/?{name}={text}"
    with pytest.raises(ConfigurationError, match=name) as caught:
        parse(uri)
    assert isinstance(caught.value, (ValueError, TypeError))
    string = parse(uri, lenient=True)
    assert string.options == {}
    assert [(f.code, f.option) for f in string.findings] == [("OPTION-INVALID", name)]


@pytest.mark.parametrize("name", ["srvServiceName"])
@pytest.mark.parametrize("text", ["a_b", "", "x" * 63, "ä"])
def test_srv_service_name_is_a_service_name(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        parse(f"mongodb+srv://a.b.c/?{name}={text}")


def test_unknown_compressors_are_left_out_with_a_warning() -> None:
    string = parse("mongodb://h/?compressors=lz4,zlib")
    assert string.options["compressors"] == ["zlib"]
    assert "compressors" in string.warnings[0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("maxPoolSize", True),
        ("maxPoolSize", 1.5),
        ("connectTimeoutMS", True),
        ("connectTimeoutMS", []),
        ("tls", 1),
        ("w", 1.5),
        ("w", True),
        ("appname", 1),
        ("authMechanismProperties", 1),
        ("readPreferenceTags", 1),
        ("compressors", 1),
        ("tlsCAFile", 1),
        ("event_listeners", 1),
        ("driver", object()),
        ("server_api", object()),
        ("readPreference", 1),
        ("server_selector", []),
        ("srv_host_validator", "x"),
    ],
)
def test_wrong_types_are_type_errors(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        OPTIONS[name].validate(name, value)


def test_values_by_keyword() -> None:
    def check(name: str, value: Any) -> Any:
        return OPTIONS[name].validate(name, value)

    assert check("tls", True) is True
    assert check("maxPoolSize", None) == 0
    assert check("connectTimeoutMS", 0) is None
    assert check("socketTimeoutMS", None) is None
    assert check("connectTimeoutMS", 250) == 0.25
    assert check("tlsCAFile", pathlib.PurePosixPath("a/b")) == "a/b"
    assert check("tlsCertificateKeyFilePassword", b"x") == "x"
    assert check("readPreferenceTags", [{"a": "b"}, "c:d"]) == [{"a": "b"}, {"c": "d"}]
    properties = check("authMechanismProperties", {"CANONICALIZE_HOST_NAME": True, "X": max})
    assert properties == {"CANONICALIZE_HOST_NAME": "true", "X": max}
    with pytest.raises(TypeError, match="auto_encryption_opts must be an AutoEncryptionOpts"):
        check("auto_encryption_opts", object())


def test_every_option_of_pymongo_is_known() -> None:
    ours = {name.lower() for name in LOOKUP}
    gone = {"waitqueuemultiple"}
    assert set(common.VALIDATORS) - gone <= ours


def test_defaults_are_pymongos() -> None:
    def default(name: str) -> Any:
        return OPTIONS[name].default

    assert default("maxPoolSize") == common.MAX_POOL_SIZE
    assert default("minPoolSize") == common.MIN_POOL_SIZE
    assert default("maxConnecting") == common.MAX_CONNECTING
    assert default("connectTimeoutMS") == common.CONNECT_TIMEOUT
    assert default("serverSelectionTimeoutMS") == common.SERVER_SELECTION_TIMEOUT
    assert default("heartbeatFrequencyMS") == common.HEARTBEAT_FREQUENCY
    assert default("localThresholdMS") == common.LOCAL_THRESHOLD_MS
    assert default("retryWrites") is common.RETRY_WRITES
    assert default("srvServiceName") == common.SRV_SERVICE_NAME
    assert default("serverMonitoringMode") == common.SERVER_MONITORING_MODE


def test_names_are_found_in_any_case() -> None:
    for name, option in OPTIONS.items():
        assert find(name) is option
        assert find(name.upper()) is option
    alias = find("SSL")
    assert alias is not None
    assert (alias.name, alias.alias) == ("tls", "ssl")


def test_secrets_are_marked() -> None:
    secret = {name for name, option in OPTIONS.items() if option.secret}
    assert {name for name in OPTIONS if "password" in name.lower()} <= secret
    assert "authMechanismProperties" in secret


@pytest.mark.parametrize(
    "query",
    [
        "tlsCRLFile=x&tlsInsecure=true",
        "tlsCRLFile=x&tlsAllowInvalidCertificates=true",
        "srvMaxHosts=1",
        "srvServiceName=x",
        "proxyPort=1",
        "proxyHost=x&proxyUsername=y",
    ],
)
def test_options_that_exclude_one_another(query: str) -> None:
    with pytest.raises(ConfigurationError):
        parse(f"mongodb://h/?{query}")


def test_direct_connection_with_srv() -> None:
    with pytest.raises(ConfigurationError, match="directConnection"):
        parse("mongodb+srv://a.b.c/?directConnection=true")
    assert parse("mongodb+srv://a.b.c/?directConnection=false").is_srv


def test_only_rows_for_strings_are_read_from_strings() -> None:
    for name, option in OPTIONS.items():
        if not option.sources & URI:
            with pytest.raises(ConfigurationError, match="keyword"):
                parse(f"mongodb://h/?{name}=x")


def test_units_are_those_of_the_names() -> None:
    kept = {
        validators.seconds,
        validators.seconds_or_none,
        validators.positive_seconds_or_none,
        validators.seconds_0_is_none,
    }
    for option in OPTIONS.values():
        given = "ms" if option.name.endswith("MS") else None
        given = "s" if option.name.endswith("Seconds") else given
        assert (option.unit[0] if option.unit else None) == given, option
        if option.validate in kept:
            assert option.unit == ("ms", "s"), option
            assert option.spelled("other").unit == option.unit


@pytest.mark.parametrize("name", ["appname", "w", "readConcernLevel", "replicaSet", "authSource"])
def test_text_that_utf8_cannot_write_is_refused_by_name(name: str) -> None:
    """`os.environ` gives bytes that are no UTF-8 as lone surrogates."""
    text = b"caf\xe9".decode("utf-8", "surrogateescape")
    with pytest.raises(ConfigurationError, match=rf"(?i){name} has a character that UTF-8"):
        MongoClient("mongodb://localhost", connect=False, **{name: text})


@pytest.mark.parametrize("function", ["parse_host", "split_hosts", "parse_userinfo"])
@pytest.mark.parametrize("value", [None, 5, b"host", ["host"], {}])
def test_parts_of_a_string_are_strings(function: str, value: object) -> None:
    with pytest.raises(TypeError, match="must be a string, not"):
        getattr(uri_parser, function)(value)
