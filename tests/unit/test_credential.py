"""Credentials: the rules of each mechanism, and that nothing secret shows."""

import pytest

from mongokey.auth import MECHANISMS, MongoCredential, build_credential
from mongokey.auth.registry import find_mechanism, negotiate
from mongokey.errors import ConfigurationError


class Callback:
    def fetch(self, context):
        return None


def test_no_user_and_no_mechanism_is_no_credential():
    assert build_credential(None, None, None, "foo", "bar", None) is None
    assert build_credential("DEFAULT", None, None) is None


def test_default_is_to_negotiate_with_admin():
    credential = build_credential(None, "user", "password")
    assert (credential.mechanism, credential.source) == (None, "admin")
    assert credential.source_origin == "the default"
    assert not credential.mechanism_properties


@pytest.mark.parametrize("mechanism", [None, "SCRAM-SHA-1", "SCRAM-SHA-256", "PLAIN"])
def test_auth_source_wins_over_the_path(mechanism):
    by_path = build_credential(mechanism, "user", "pw", "foo")
    assert (by_path.source, by_path.source_origin) == ("foo", "the database in the URI's path")
    by_option = build_credential(mechanism, "user", "pw", "foo", "bar")
    assert (by_option.source, by_option.source_origin) == ("bar", "the authSource option")


def test_plain_defaults_to_external():
    assert build_credential("PLAIN", "user", "pw").source == "$external"


@pytest.mark.parametrize(
    ("mechanism", "user", "password", "properties"),
    [
        ("MONGODB-X509", None, None, None),
        ("MONGODB-X509", "CN=me", None, None),
        ("GSSAPI", "me@REALM", None, None),
        ("GSSAPI", "me@REALM", "pw", {"service_name": "other", "SERVICE_REALM": "R"}),
        ("MONGODB-AWS", None, None, None),
        ("MONGODB-AWS", "key", "secret", {"AWS_SESSION_TOKEN": "token"}),
        ("MONGODB-OIDC", None, None, {"ENVIRONMENT": "k8s"}),
        ("MONGODB-OIDC", "me", None, {"ENVIRONMENT": "azure", "TOKEN_RESOURCE": "a:b"}),
        ("MONGODB-OIDC", "me", None, {"OIDC_CALLBACK": Callback()}),
        ("MONGODB-OIDC", None, None, {"OIDC_HUMAN_CALLBACK": Callback(), "ALLOWED_HOSTS": ["a"]}),
    ],
)
def test_external_mechanisms_ignore_the_path_and_take_no_other_source(
    mechanism, user, password, properties
):
    for source in (None, "$external"):
        credential = build_credential(mechanism, user, password, "foo", source, properties)
        assert credential.source == "$external"
        assert hash(credential) == hash(credential)
    with pytest.raises(ConfigurationError, match="authSource"):
        build_credential(mechanism, user, password, "foo", "bar", properties)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, "", "pw"), "username is empty"),
        (("SCRAM-SHA-256", "", ""), "username is empty"),
        (("PLAIN", "", None), "username is empty"),
        ((None, "user", None), "password is missing"),
        ((None, "user", ""), "password is empty"),
        ((None, None, "pw"), "without a username"),
        ((None, "user", "pw", None, ""), "authSource is empty"),
        ((None, None, None, None, ""), "authSource is empty"),
        ((None, "user", "pw", None, "$external"), "authMechanism"),
        (("SCRAM-SHA-256", "user", "pw", None, "$external"), "authMechanism"),
        ((None, "us\ud800er", "pw"), "username contains a lone surrogate"),
        (("SCRAM-SHA-256", None, None), "username is missing"),
        (("SCRAM-SHA-1", "user", None), "password is missing"),
        (("SCRAM-SHA-256", "user", "a\x07"), "control character"),
        (("SCRAM-SHA-256", "user", "a\n"), "ends with a line break"),
        (("SCRAM-SHA-1", "user", "pw", None, None, {"SERVICE_NAME": "x"}), "SERVICE_NAME"),
        (("PLAIN", None, None), "username is missing"),
        (("PLAIN", "user", ""), "password is empty"),
        (("PLAIN", "us\0er", "pw"), "username contains a NUL"),
        (("MONGODB-X509", "user", "pw"), "password was given"),
        (("MONGODB-X509", None, None, None, None, {"X": "y"}), "does not apply"),
        (("GSSAPI", None, None), "username is missing"),
        (
            ("GSSAPI", "me", None, None, None, {"CANONICALIZE_HOST_NAME": "invalid"}),
            "CANONICALIZE_HOST_NAME: 'invalid'",
        ),
        (("GSSAPI", "me", None, None, None, {"SERVICE_NAME": ""}), "SERVICE_NAME"),
        (("MONGODB-AWS", "key", None), "password is missing"),
        (("MONGODB-AWS", None, "secret"), "username is missing"),
        (("MONGODB-AWS", None, None, None, None, {"AWS_SESSION_TOKEN": "t"}), "AWS_SESSION_TOKEN"),
        (("MONGODB-AWS", None, None, None, None, {"AWS_CREDENTIAL_PROVIDER": 3}), "callable"),
        (
            ("MONGODB-AWS", "k", "s", None, None, {"AWS_CREDENTIAL_PROVIDER": print}),
            "AWS_CREDENTIAL_PROVIDER",
        ),
        (("MONGODB-OIDC", None, None), "exactly one of"),
        (("MONGODB-OIDC", None, "pw", None, None, {"ENVIRONMENT": "test"}), "password was given"),
        (("MONGODB-OIDC", "me", None, None, None, {"ENVIRONMENT": "test"}), "username was given"),
        (("MONGODB-OIDC", None, None, None, None, {"ENVIRONMENT": "x"}), "ENVIRONMENT"),
        (("MONGODB-OIDC", None, None, None, None, {"ENVIRONMENT": "azure"}), "TOKEN_RESOURCE"),
        (
            ("MONGODB-OIDC", None, None, None, None, {"ENVIRONMENT": "k8s", "TOKEN_RESOURCE": "x"}),
            "TOKEN_RESOURCE",
        ),
        (
            (
                "MONGODB-OIDC",
                None,
                None,
                None,
                None,
                {"OIDC_CALLBACK": Callback(), "OIDC_HUMAN_CALLBACK": Callback()},
            ),
            "exactly one of",
        ),
        (("MONGODB-OIDC", None, None, None, None, {"OIDC_CALLBACK": "text"}), "OIDCCallback"),
        (
            (
                "MONGODB-OIDC",
                None,
                None,
                None,
                None,
                {"OIDC_CALLBACK": Callback(), "ALLOWED_HOSTS": ["a"]},
            ),
            "ALLOWED_HOSTS",
        ),
        (
            (
                "MONGODB-OIDC",
                None,
                None,
                None,
                None,
                {"OIDC_HUMAN_CALLBACK": Callback(), "ALLOWED_HOSTS": "a"},
            ),
            "ALLOWED_HOSTS",
        ),
        (("scram-sha-256", "user", "pw"), "did you mean SCRAM-SHA-256"),
        (("MONGODB-CR", "user", "pw"), "not a mechanism"),
    ],
)
def test_what_breaks_a_rule_is_refused_with_the_option_named(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        build_credential(*arguments)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("none", "none"),
        ("forward", "forward"),
        ("forwardAndReverse", "forwardAndReverse"),
        ("true", "forwardAndReverse"),
        (True, "forwardAndReverse"),
        (False, "none"),
    ],
)
def test_gssapi_host_name_modes_have_one_form_each(given, stored):
    credential = build_credential(
        "GSSAPI", "me", None, properties={"CANONICALIZE_HOST_NAME": given}
    )
    assert credential.mechanism_properties["canonicalize_host_name"] == stored
    assert credential.mechanism_properties["SERVICE_NAME"] == "mongodb"


def test_values_of_other_types_are_type_errors():
    for arguments in ((1, "u", "p"), (None, 1, "p"), (None, "u", b"p")):
        with pytest.raises(TypeError, match="must be a str"):
            build_credential(*arguments)


def test_a_credential_is_immutable_and_neither_pickled_nor_copied():
    import copy
    import pickle

    credential = build_credential(None, "user", "pw")
    with pytest.raises(AttributeError, match="immutable"):
        credential.password = "other"
    with pytest.raises(AttributeError, match="immutable"):
        del credential.password
    for copy_it in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret"):
            copy_it(credential)


def test_equal_credentials_have_equal_hashes():
    one = build_credential("SCRAM-SHA-1", "user", "pw", "admin")
    same = MongoCredential("SCRAM-SHA-1", "admin", "user", "pw")
    other = MongoCredential("SCRAM-SHA-1", "admin", "user", "PW")
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != "user"
    assert one.state is not same.state


@pytest.mark.parametrize("name", MECHANISMS)
def test_each_registered_name_leads_to_its_own_rules(name):
    assert find_mechanism(name).name == name


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        (None, "SCRAM-SHA-1"),
        ([], "SCRAM-SHA-1"),
        (["SCRAM-SHA-1"], "SCRAM-SHA-1"),
        (["SCRAM-SHA-1", "SCRAM-SHA-256"], "SCRAM-SHA-256"),
        (["PLAIN"], "SCRAM-SHA-1"),
        (["ARBITRARY", 7, None], "SCRAM-SHA-1"),
    ],
)
def test_negotiation_takes_sha_256_if_listed_and_else_sha_1(offered, chosen):
    assert negotiate(offered) == chosen
