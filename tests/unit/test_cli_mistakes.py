"""The common mistakes in connection strings: found, pointed at, put right, and no secret told."""

from __future__ import annotations

import pytest

from mongokey.cli.mistakes import find_mistakes
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis
from mongokey.options.connection_string import parse

S = "?authSource=admin"


def place(mistake: Diagnosis) -> tuple[str, int]:
    """The masked string of the evidence, and where its caret points."""
    excerpt, caret = mistake.evidence
    assert caret == caret.rstrip("^") + "^"
    return excerpt, len(caret) - 1


def only(uri: str, **keywords: bool) -> Diagnosis:
    (mistake,) = find_mistakes(uri, **keywords)
    return mistake


def codes(uri: str, **keywords: bool) -> set[str]:
    return {mistake.code for mistake in find_mistakes(uri, **keywords)}


@pytest.mark.parametrize(
    "uri",
    [
        f"mongodb://user:p%40ss@db.example.com/app{S}&tls=true&maxPoolSize=5",
        "mongodb://localhost",
        "mongodb://%2Ftmp%2Fmongodb-27017.sock",
        f"mongodb+srv://user:pw@c.example.net/{S}",
        "mongodb://h/?authMechanism=MONGODB-X509&tls=true",
        f"mongodb://user:pw@[::1]:27017,h/{S}",
        "mongodb://user:pw@h/admin",
    ],
)
def test_nothing_is_said_of_a_good_string(uri: str) -> None:
    assert find_mistakes(uri) == []


@pytest.mark.parametrize("char", "@:/?#[]%")
@pytest.mark.parametrize("where", ["password", "user name"])
def test_a_character_that_must_be_escaped(char: str, where: str) -> None:
    userinfo = f"user:Q{char}X" if where == "password" else f"Q{char}X:word"
    if where == "user name" and char == ":":
        return  # it ends the user name
    mistake = only(f"mongodb://{userinfo}@h/{S}")
    assert mistake.code == "URI-UNESCAPED"
    assert mistake.confidence == CERTAIN
    assert f"%{ord(char):02X}" in mistake.summary
    excerpt, caret = place(mistake)
    assert excerpt[caret] == char
    assert "Q" not in excerpt
    if where == "user name" and char in "/?":
        # It may be no user name but the begin of a path or of the options.
        assert excerpt.endswith("@...")
        assert mistake.fix == ""
        return
    assert excerpt.endswith(f"@h/{S}")
    # A user name with such a character may be name and password.
    user = "user" if where == "password" else "***"
    assert mistake.fix == f"mongodb://{user}:***@h/{S}"
    parse(mistake.fix)


def test_a_mail_address_as_user_name() -> None:
    assert only(f"mongodb://me@site.org:pw@h/{S}").fix == f"mongodb://me%40site.org:***@h/{S}"


def test_what_was_escaped_stays_so() -> None:
    assert only(f"mongodb://a%2Bb@c.org:pw@h/{S}").fix == f"mongodb://***:***@h/{S}"
    # That it is escaped once, and rightly, shows in what is read from the string put right.
    text = find_mistakes(f"mongodb://a%40b@c.org:pw@h/{S}")
    assert [mistake.code for mistake in text] == ["URI-UNESCAPED"]


def test_an_at_that_may_be_the_passwords_hides_what_stands_before_it() -> None:
    mistake = only("mongodb://user:Q@XX?w=YY@h/")
    assert (mistake.code, mistake.confidence) == ("URI-UNESCAPED", POSSIBLE)
    excerpt, caret = place(mistake)
    assert excerpt == "mongodb://user:***@..."
    assert caret == len("mongodb://user:***")
    assert mistake.fix == ""


def test_an_at_in_an_option_is_one() -> None:
    assert find_mistakes("mongodb://localhost/?appName=me@work") == []
    # An unknown option before an '@' is more likely the rest of a password with a '?' in it.
    assert only("mongodb://u:pw@h/?authSource=admin&foo=me@work").code == "URI-UNESCAPED"


def test_a_plus() -> None:
    mistake = only(f"mongodb://user:a+b@h/{S}")
    assert (mistake.code, mistake.confidence) == ("USERINFO-PLUS", POSSIBLE)
    excerpt, caret = place(mistake)
    assert excerpt[caret] == "+"
    assert "%2B" in mistake.summary


@pytest.mark.parametrize("end", ["%0A", "%0D%0A", "%20", "+"])
def test_a_blank_or_line_end_behind_the_password(end: str) -> None:
    uri = f"mongodb://user:pw{end}@h/{S}"
    mistakes = {mistake.code: mistake for mistake in find_mistakes(uri)}
    if end == "+":
        # Then it is a plus that was not escaped, which is mended first.
        assert set(mistakes) == {"USERINFO-PLUS"}
        return
    assert mistakes["SECRET-BLANK"].confidence == LIKELY
    assert mistakes["SECRET-BLANK"].fix == f"mongodb://user:***@h/{S}"


@pytest.mark.parametrize("password", ["<password>", "<db_password>", "Q>"])
def test_brackets_left_in(password: str) -> None:
    mistake = only(f"mongodb://user:{password}@h/{S}")
    assert (mistake.code, mistake.confidence) == ("SECRET-BRACKETS", LIKELY)
    assert mistake.fix == f"mongodb://user:***@h/{S}"


@pytest.mark.parametrize(
    ("before", "after"), [('"', '"'), ("'", ""), ("", "\n"), (" ", " "), ("\ufeff", ""), ("", '"')]
)
def test_quotes_and_blanks_around(before: str, after: str) -> None:
    mistake = only(f"{before}mongodb://user:pw@h/{S}{after}")
    assert (mistake.code, mistake.confidence) == ("URI-QUOTED", CERTAIN)
    assert mistake.fix == f"mongodb://user:***@h/{S}"
    for piece in (before, after):
        if piece:
            assert repr(piece) in mistake.summary


def test_a_scheme_in_capitals() -> None:
    mistake = only("MongoDB://localhost")
    assert (mistake.code, mistake.fix) == ("URI-SCHEME-CASE", "mongodb://localhost")


def test_a_port_that_pydantic_added() -> None:
    mistake = only(f"mongodb+srv://user:pw@c.example.net:27017/app{S}")
    assert (mistake.code, mistake.confidence) == ("SRV-PORT", CERTAIN)
    assert "pydantic" in mistake.summary
    assert mistake.fix == f"mongodb+srv://user:***@c.example.net/app{S}"
    excerpt, caret = place(mistake)
    assert excerpt[caret:].startswith(":27017")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("replicaset_", "replicaSet"),
        ("max_pool_size", "maxPoolSize"),
        ("retryWrite", "retryWrites"),
        ("authsorce", "authSource"),
    ],
)
def test_a_misspelt_option(wrong: str, right: str) -> None:
    value = "5" if right == "maxPoolSize" else "true"
    rest = "" if right == "authSource" else "&authSource=admin"
    mistake = only(f"mongodb://user:pw@h/?{wrong}={value}{rest}")
    assert (mistake.code, mistake.confidence) == ("OPTION-UNKNOWN", CERTAIN)
    assert f"did you mean {right}?" in mistake.summary
    assert mistake.fix == f"mongodb://user:***@h/?{right}={value}{rest}"
    excerpt, caret = place(mistake)
    assert excerpt[caret:].startswith(wrong)


def test_an_option_that_nothing_is_like() -> None:
    mistake = only(f"mongodb://user:pw@h/{S}&zzz=1")
    assert mistake.code == "OPTION-UNKNOWN"
    assert "mean" not in mistake.summary
    assert mistake.fix == ""


@pytest.mark.parametrize(
    ("given", "code", "right"),
    [
        ("ssl=true", "OPTION-ALIAS", "tls=true"),
        ("j=true", "OPTION-DEPRECATED", "journal=true"),
        ("wtimeout=5", "OPTION-DEPRECATED", "wTimeoutMS=5"),
    ],
)
def test_old_names_of_options(given: str, code: str, right: str) -> None:
    mistake = only(f"mongodb://localhost/?{given}")
    assert (mistake.code, mistake.fix) == (code, f"mongodb://localhost/?{right}")


def test_the_database_becomes_the_source_of_a_root_user() -> None:
    mistake = only("mongodb://root:pw@h/shop?w=1")
    assert (mistake.code, mistake.confidence) == ("AUTH-SOURCE-FROM-PATH", LIKELY)
    assert "'shop'" in mistake.summary
    assert mistake.fix == "mongodb://root:***@h/shop?w=1&authSource=admin"
    mistake = only("mongodb://shopper:pw@h/shop")
    assert mistake.confidence == POSSIBLE
    assert mistake.fix == "mongodb://shopper:***@h/shop?authSource=admin"
    assert codes("mongodb://u@h/shop?authMechanism=GSSAPI") == set()


def test_users_of_ldap_do_not_live_in_the_database_of_the_path() -> None:
    mistake = only("mongodb://ann:pw@h/shop?authMechanism=PLAIN&tls=true")
    assert (mistake.code, mistake.confidence) == ("LDAP-SOURCE", LIKELY)
    fixed = "mongodb://ann:***@h/shop?authMechanism=PLAIN&tls=true&authSource=$external"
    assert mistake.fix == fixed
    assert codes(fixed) == set()
    assert codes("mongodb://ann:pw@h/$external?authMechanism=PLAIN&tls=true") == set()


def test_a_login_that_shows_its_secret_to_all_needs_tls() -> None:
    uri = "mongodb://ann:pw@h/?authMechanism=PLAIN"
    mistake = only(uri)
    assert (mistake.code, mistake.confidence) == ("LOGIN-EXPOSED", LIKELY)
    assert "PLAIN sends the password as it is" in mistake.summary
    assert mistake.fix == "mongodb://ann:***@h/?authMechanism=PLAIN&tls=true"
    assert codes(uri + "&tls=false") == {"LOGIN-EXPOSED"}
    for encrypted in ("&tls=true", "&tlsCAFile=/ca.pem"):
        assert codes(uri + encrypted) == set()
    assert codes(uri.replace("@h/", "@localhost/")) == set()
    assert codes(uri.replace("mongodb://", "mongodb+srv://").replace("@h", "@a.b.c")) == set()
    assert codes("mongodb://ann:pw@h/?authMechanism=SCRAM-SHA-256") == set()


def test_users_of_external_need_a_mechanism() -> None:
    assert only("mongodb://u:pw@h/?authSource=$external").code == "AUTH-EXTERNAL-MECHANISM"


def test_no_user_for_a_server_elsewhere() -> None:
    assert only("mongodb://db.example.com/shop").code == "AUTH-NO-CREDENTIAL"


def test_a_shell_cut_the_string() -> None:
    uri = "mongodb://user:secret@h/?replicaSet=rs0"
    mistake = only(uri, from_shell=True)
    assert (mistake.code, mistake.confidence) == ("URI-CUT", POSSIBLE)
    assert "a password of 6 characters" in mistake.summary
    assert codes(uri) == set()
    assert codes(uri + "&authSource=admin", from_shell=True) == set()


def test_several_mistakes_are_all_mended_in_one_string() -> None:
    uri = '"mongodb+srv://root:a@b<c@x.example.net:27017/shop?ssl=true&retryWrite=true"'
    mistakes = find_mistakes(uri)
    assert {mistake.code for mistake in mistakes} == {
        "URI-QUOTED",
        "URI-UNESCAPED",
        "SRV-PORT",
        "OPTION-ALIAS",
        "OPTION-UNKNOWN",
        "AUTH-SOURCE-FROM-PATH",
    }
    grades = [mistake.confidence for mistake in mistakes]
    assert grades == sorted(grades)
    fixed = "mongodb+srv://root:***@x.example.net/shop?tls=true&retryWrites=true&authSource=admin"
    assert {mistake.fix for mistake in mistakes} == {fixed}
    assert find_mistakes(fixed) == []


def test_secrets_among_the_options_are_masked() -> None:
    uri = (
        "mongodb://h/?authMechanism=MONGODB-AWS&ssl=true&tlsCertificateKeyFilePassword=QXZ"
        "&authMechanismProperties=AWS_SESSION_TOKEN:QXZ,FOO:QXZ,SERVICE_NAME:shown,QXZ"
    )
    mistake = only(uri)
    excerpt, _ = place(mistake)
    for text in (excerpt, mistake.fix):
        assert "QXZ" not in text
        assert "AWS_SESSION_TOKEN:***,***:***,SERVICE_NAME:shown,***" in text
