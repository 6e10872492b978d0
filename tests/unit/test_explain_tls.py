"""What `mongokey explain` says of TLS files, offline."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.oid import NameOID

from mongokey.cli.app import cli
from mongokey.cli.explain import explain
from tests.servers.certificates import Authority, make_name

DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("explain"))


def uri_of(**options: str) -> str:
    given = "&".join(f"{name}={quote(value, safe='')}" for name, value in options.items())
    return f"mongodb://db.example.com/?tls=true&authMechanism=MONGODB-X509&{given}"


def subject() -> x509.Name:
    return make_name(
        (NameOID.COUNTRY_NAME, "GB"),
        (NameOID.ORGANIZATION_NAME, "Example, Ltd."),
        (NameOID.COMMON_NAME, "ada"),
    )


def test_the_client_s_certificate_and_the_authorities_are_shown(authority: Authority) -> None:
    ada = authority.issue("ada", subject=subject(), server=False)
    uri = uri_of(
        tlsCAFile=authority.certificate_file,
        tlsCertificateKeyFile=ada.encrypted_pem("very secret"),
        tlsCertificateKeyFilePassword="very secret",
    )
    facts = explain(uri).tls_facts
    assert facts is not None
    assert facts.problem is None
    assert facts.certificate is not None
    assert facts.certificate.subject == "CN=ada,O=Example\\, Ltd.,C=GB"
    assert facts.certificate.issuer == "CN=authority,O=Tests"
    assert facts.certificate.valid_until == ada.certificate.not_valid_after_utc.isoformat()
    (trusted,) = facts.authorities
    assert (trusted.subject, trusted.expired) == ("CN=authority,O=Tests", False)
    run = CliRunner().invoke(cli, ["explain", "-"], input=uri + "\n")
    assert run.exit_code == 0
    assert "CN=ada,O=Example\\, Ltd.,C=GB" in run.output
    assert "CN=authority,O=Tests, valid until" in run.output
    as_json = CliRunner().invoke(cli, ["explain", "--json", "-"], input=uri + "\n")
    assert (
        json.loads(as_json.output)["tls_facts"]["certificate"]["issuer"] == facts.certificate.issuer
    )
    for output in (run.output, as_json.output):
        assert "very secret" not in output
        assert "PRIVATE" not in output


def test_wrong_files_are_told_as_the_client_tells_them(
    authority: Authority, tmp_path: Path
) -> None:
    old = authority.issue("old", since=-3 * DAY, until=-DAY, server=False)
    locked = authority.issue("locked", server=False).encrypted_pem("right")
    nothing = tmp_path / "nothing.pem"
    nothing.write_bytes(b"")
    for options, said in (
        ({"tlsCertificateKeyFile": old.pem}, "its certificate expired on"),
        ({"tlsCertificateKeyFile": locked}, "its private key is encrypted"),
        ({"tlsCertificateKeyFile": str(tmp_path / "none.pem")}, "it cannot be read"),
        ({"tlsCAFile": str(nothing)}, "it is empty"),
    ):
        uri = uri_of(**{"tlsCAFile": authority.certificate_file, **options})
        facts = explain(uri).tls_facts
        assert facts is not None
        assert facts.problem is not None
        assert said in facts.problem
        run = CliRunner().invoke(cli, ["explain", "-"], input=uri + "\n")
        assert run.exit_code == 0
        assert said in run.output


def test_without_tls_there_is_nothing_to_say() -> None:
    assert explain("mongodb://db.example.com/").tls_facts is None
