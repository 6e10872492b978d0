"""Options whose value is a list: split first, decoded then, and one bad entry costs only itself."""

from __future__ import annotations

import warnings
from typing import Any
from urllib.parse import quote

import pytest

from mongokey.client_options import ClientOptions
from mongokey.errors import ConfigurationError
from mongokey.options.connection_string import SRVQuestion, parse
from mongokey.uri_parser import parse_uri

RESOURCE = "api://app,one+two&three"


def no_dns(question: SRVQuestion) -> tuple[list[tuple[str, int | None]], str]:
    return [("x." + question.fqdn, 27017)], "replicaSet=rs0"


def resource_of(uri: str) -> Any:
    credential = ClientOptions.build(uri, _resolve=no_dns).credential
    assert credential is not None
    return credential.mechanism_properties["TOKEN_RESOURCE"]


@pytest.mark.parametrize("start", ["mongodb://h.test/?", "mongodb+srv://a.b.test/?"])
@pytest.mark.parametrize("environment", ["azure", "gcp"])
def test_an_escaped_comma_stays_in_its_value(start: str, environment: str) -> None:
    uri = (
        f"{start}authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:{environment},"
        "TOKEN_RESOURCE:api%3A%2F%2Fapp%2Cone%2Btwo%26three"
    )
    # The specification's tests want a warning; it says which pair other drivers may cut.
    with pytest.warns(UserWarning, match=r"pair 2 \(TOKEN_RESOURCE\).*escaped comma"):
        assert resource_of(uri) == RESOURCE


@pytest.mark.filterwarnings("ignore:.*escaped comma")
def test_every_order_and_every_character_that_needs_it() -> None:
    odd = "a,b:c=d&e;f+g h%i/j?k#l@mäñ"
    properties = f"TOKEN_RESOURCE:{quote(odd, safe='')},ENVIRONMENT:gcp"
    uri = f"mongodb://h/?authMechanism=MONGODB-OIDC&authMechanismProperties={properties}"
    assert resource_of(uri) == odd
    # The same text may be handed in by keyword.
    credential = ClientOptions.build(
        "h", authMechanism="MONGODB-OIDC", authMechanismProperties=properties
    ).credential
    assert credential is not None
    assert credential.mechanism_properties["TOKEN_RESOURCE"] == odd


def test_a_value_escaped_as_a_whole_is_read_as_before() -> None:
    whole = quote("ENVIRONMENT:azure,TOKEN_RESOURCE:api", safe="")
    uri = f"mongodb://h/?authMechanism=MONGODB-OIDC&authMechanismProperties={whole}"
    assert resource_of(uri) == "api"


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ("TOKEN_RESOURCE", r"pair 2 \(TOKEN_RESOURCE\)"),
        ("TOKEN_RESOURCE:", r"pair 2 \(TOKEN_RESOURCE\) of \S+ has no value"),
        ("", "pair 2 of authMechanismProperties is empty"),
        ("QXZJ", "pair 2 of"),
        (":QXZJ", "pair 2 of"),
    ],
)
def test_a_bad_pair_is_named_and_the_others_are_kept(bad: str, named: str) -> None:
    uri = f"mongodb://h/?authMechanism=MONGODB-OIDC&authMechanismProperties=ENVIRONMENT:k8s,{bad}"
    for build in (parse, ClientOptions.build):
        with pytest.raises(ConfigurationError, match=named) as caught:
            build(uri)
        assert "QXZJ" not in str(caught.value)
        assert "%2C" in str(caught.value), "what to do about it"
    with pytest.warns(UserWarning, match=named):
        options = parse_uri(uri, warn=True)["options"]
    assert options["authMechanismProperties"] == {"ENVIRONMENT": "k8s"}


def test_a_value_whose_escapes_are_no_text_names_its_pair() -> None:
    uri = "mongodb://h/?authMechanismProperties=ENVIRONMENT:gcp,TOKEN_RESOURCE:a%FF"
    with pytest.raises(ConfigurationError, match=r"pair 2 \(TOKEN_RESOURCE\)"):
        parse(uri)


def test_a_property_that_is_no_name_is_not_shown() -> None:
    # A session token with a comma that was not escaped makes a property of its rest.
    uri = (
        "mongodb://AKIAIOSFODNN7EXAMPLE:secret@h/?authMechanism=MONGODB-AWS"
        "&authMechanismProperties=AWS_SESSION_TOKEN:abc,q7+x/z:rest"
    )
    with pytest.raises(ConfigurationError, match="not shown") as caught:
        ClientOptions.build(uri)
    assert "Q7" not in str(caught.value).upper()


def test_a_bad_tag_set_costs_only_itself() -> None:
    uri = (
        "mongodb://h/?readPreference=nearest&readPreferenceTags=dc:a%2Cb,rack:1%3A2"
        "&readPreferenceTags=dc:ny,rack&readPreferenceTags="
    )
    with pytest.raises(ConfigurationError, match="pair 2 of tag set 2 of readPreferenceTags"):
        parse(uri)
    with pytest.warns(UserWarning, match="pair 2 of tag set 2 of readPreferenceTags"):
        options = ClientOptions.build(uri)
    # Not {"dc": "ny"}: that set would match members that were not meant.
    assert options.read_preference.tag_sets == [{"dc": "a,b", "rack": "1:2"}, {}]


def test_compressors_and_hosts_are_split_before_they_are_decoded() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        string = parse("mongodb://%2Ftmp%2Fa%2Cb.sock,h:1/?compressors=zlib,zst%64")
    assert string.hosts == (("/tmp/a,b.sock", None), ("h", 1))
    assert string.options["compressors"] == ["zlib", "zstd"]


def test_allowed_hosts_are_a_list_never_a_text_to_split() -> None:
    class Callback:
        def fetch(self, context: object) -> None:
            raise AssertionError

    for hosts in ("*.example.com,*.test", b"x.test", {"x.test": 1}):
        with pytest.raises(ConfigurationError, match="ALLOWED_HOSTS"):
            ClientOptions.build(
                "h",
                authMechanism="MONGODB-OIDC",
                authMechanismProperties={
                    "OIDC_HUMAN_CALLBACK": Callback(),
                    "ALLOWED_HOSTS": hosts,
                },
            )
