"""No secret of a provider stands in any frame of ours that an error comes through, nor in its text;
nor PEM that was given in place of a path."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient
from mongokey.auth.provided import ProvidedCredential, ProvidedSecrets
from mongokey.client_options import ClientOptions
from mongokey.credentials import (
    AwsSecret,
    Request,
    Secret,
    X509Secret,
    from_aws_secret,
    from_env,
    from_file,
)
from mongokey.transport.tls.context import ClientTLS
from tests.security.test_secrets_frames import ADDRESS, MARK, SECRET, assert_hidden, failure_of


class Giving:
    """A provider that gives what it was made with, and shows nothing of it."""

    def __init__(self, *given: Any) -> None:
        self._given = list(given)

    def __call__(self, request: Request) -> Any:
        given = self._given[0] if len(self._given) == 1 else self._given.pop(0)
        if isinstance(given, Exception):
            raise given
        return given

    def __repr__(self) -> str:
        return "<Giving>"


def secrets_of(provider: Any, mechanism: str | None = None, username: str | None = None) -> Any:
    return ProvidedSecrets(ProvidedCredential(provider, mechanism, username, None, None, None))


NUL, SURROGATE = f"{SECRET}\0", f"{SECRET}\ud800"


@pytest.mark.parametrize(
    ("mechanism", "given"),
    [
        (None, SECRET),
        (None, {"password": SECRET}),
        (None, Secret(None, SECRET)),
        (None, Secret("", SECRET)),
        (None, Secret("ada", SECRET, expires_in_s=-1)),
        (None, Secret(3, SECRET)),  # type: ignore[arg-type]
        (None, Secret("ada", SECRET.encode())),  # type: ignore[arg-type]
        (None, RuntimeError(f"password={SECRET}")),
        ("SCRAM-SHA-1", AwsSecret("AKIA", SECRET)),
        ("PLAIN", Secret("ada", NUL)),
        ("PLAIN", Secret("ada", SURROGATE)),
        ("GSSAPI", Secret(None, SECRET)),
        ("MONGODB-X509", Secret("ada", SECRET)),
        ("MONGODB-X509", X509Secret("", SECRET)),
        ("MONGODB-AWS", {"AccessKeyId": "AKIA", "SecretAccessKey": [SECRET]}),
        ("MONGODB-AWS", {"AccessKeyId": SECRET}),
        ("MONGODB-AWS", AwsSecret("AKIA", f"{SECRET}\n")),
        ("MONGODB-AWS", AwsSecret("AKIA", "", SECRET)),
    ],
)
def test_what_a_provider_gives(mechanism: str | None, given: Any) -> None:
    secrets = secrets_of(Giving(given), mechanism)
    error = failure_of(lambda: secrets.fetch(ADDRESS, None, None))
    if isinstance(given, RuntimeError):
        # The provider's own error, and its text, are the program's.
        assert MARK not in str(error)
        error.__cause__ = None
    assert_hidden(error)


def test_a_user_that_is_not_the_clients() -> None:
    secrets = secrets_of(Giving(Secret("eve", SECRET)), username="ada")
    assert_hidden(failure_of(lambda: secrets.fetch(ADDRESS, None, None)))


def test_what_is_held_shows_nothing() -> None:
    secrets = secrets_of(Giving(Secret("ada", SECRET)))
    held = secrets.fetch(ADDRESS, None, None)
    assert held.credential.password == SECRET
    shown = [repr(each) for each in (held, held.given, held.credential, secrets, vars(secrets))]
    assert MARK not in "".join(shown)


def test_options_that_do_not_go_together() -> None:
    provider = Giving(Secret("ada", SECRET))
    for options in (
        {"credentials": provider, "username": "ada", "password": SECRET},
        {"credentials": SECRET},
        {"credentials": provider, "host": f"mongodb://ada:{SECRET}@localhost"},
        {"credentialsFile": "a", "password": SECRET},
    ):
        error = failure_of(lambda options=options: MongoClient(**options))
        assert MARK not in str(error)
        assert_hidden(error)


REQUEST = Request(None, None, ADDRESS, "new")


def reading(tmp_path: Path, content: bytes) -> Callable[[], object]:
    path = tmp_path / "secret"
    path.write_bytes(content)
    provider = from_file(path)
    return lambda: provider(REQUEST)


@pytest.mark.parametrize(
    "content",
    [
        SECRET.encode(),
        f":{SECRET}".encode(),
        f"{{{SECRET}".encode(),
        f"[{SECRET}".encode(),
        f'{{"username": "ada", "password": ["{SECRET}"]}}'.encode(),
        f'{{"password": "{SECRET}"}}'.encode(),
        f'{{"{SECRET}": 1}}'.encode(),
        SECRET.encode() + b"\xff",
    ],
    ids=range(8),
)
def test_files(tmp_path: Path, content: bytes) -> None:
    assert_hidden(failure_of(reading(tmp_path, content)))


def test_variables_and_secrets_of_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MONGO_LOGIN", SECRET)
    provider = from_env("MONGO_LOGIN")
    assert_hidden(failure_of(lambda: provider(REQUEST)))

    class Client:
        def get_secret_value(self, **_: Any) -> dict[str, str]:
            return {"SecretString": json.dumps({"passwd": SECRET})}

    other = from_aws_secret("app/db", client=Client())
    assert_hidden(failure_of(lambda: other(REQUEST)))


@pytest.mark.parametrize(
    "pem",
    [
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n",
        f"-----BEGIN PRIVATE KEY-----\n{SECRET}",
        f"-----BEGIN CERTIFICATE-----\n{SECRET}\n-----END CERTIFICATE-----\n",
    ],
)
@pytest.mark.parametrize("option", ["tlsCertificateKeyFile", "tlsCAFile", "tlsCRLFile"])
def test_pem_in_place_of_a_path(option: str, pem: str) -> None:
    for given in (pem, pem.encode()):
        options = ClientOptions.build("localhost", _stacklevel=0, tls=True, **{option: given})
        assert MARK not in repr(options) + repr(options.tls)
        error = failure_of(lambda options=options: ClientTLS(options.tls))
        assert_hidden(error)
        assert "<PEM text>" in "".join(traceback.format_exception(error))
