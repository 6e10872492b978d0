"""`mongokey check` shows no secret: not in text, JSON, logs or frames, whatever the mechanism.

Each run is given a secret that nothing else has, and all that comes out of it is searched.
"""

from __future__ import annotations

import io
import json
import logging
import ssl
import sys
import traceback
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mongokey.cli import main
from mongokey.cli.check import hello_step, login_step, run_check, string_step
from tests.checks import ANSWERS
from tests.servers.certificates import Authority
from tests.servers.scripted import Error, Login, ScriptedServer

CANARY = "c4nary/5ecret+x@y"
ESCAPED = quote(CANARY, safe="")
HALVES = ("c4nary", "5ecret+x", "5ecret%2Bx")


def check_texts(*texts: str) -> None:
    for text in texts:
        for secret in (CANARY, ESCAPED, *HALVES):
            assert secret not in text


def run(*arguments: str) -> tuple[int, str]:
    """The command's exit code, and all that it printed; its frames are searched."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as caught:
        main.main(["check", "--timeout", "10", *arguments])
    # The test's own frame has the arguments.
    ended = caught.value
    shown = "".join(
        traceback.TracebackException.from_exception(
            ended.with_traceback(ended.__traceback__.tb_next if ended.__traceback__ else None),
            capture_locals=True,
        ).format()
    )
    check_texts(out.getvalue(), err.getvalue(), shown)
    assert isinstance(ended.code, int)
    return ended.code, out.getvalue() + err.getvalue()


@pytest.fixture
def logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    check_texts(*(f"{each.getMessage()} {vars(each)}" for each in caplog.records))


REFUSED = {"saslStart": Error(code=18, message="Authentication failed."), **ANSWERS}
REFUSED["authenticate"] = REFUSED["saslStart"]


@pytest.fixture
def refusing() -> Iterator[ScriptedServer]:
    with ScriptedServer(on=REFUSED) as server:
        yield server


AWS_ID = "AKIAIOSFODNN7EXAMPLE"
LOGINS: dict[str, list[str]] = {
    "negotiated": [f"mongodb://ada:{ESCAPED}@HOST/shop"],
    "SCRAM-SHA-1": [f"mongodb://ada:{ESCAPED}@HOST/?authMechanism=SCRAM-SHA-1"],
    "SCRAM-SHA-256": [f"mongodb://ada:{ESCAPED}@HOST/?authMechanism=SCRAM-SHA-256"],
    "PLAIN": [f"mongodb://ada:{ESCAPED}@HOST/?authMechanism=PLAIN&authSource=$external"],
    "GSSAPI": [f"mongodb://ada%40REALM:{ESCAPED}@HOST/?authMechanism=GSSAPI"],
    "MONGODB-AWS": [
        f"mongodb://{AWS_ID}:{ESCAPED}@HOST/?authMechanism=MONGODB-AWS"
        f"&authMechanismProperties=AWS_SESSION_TOKEN:{ESCAPED}"
    ],
    "by keyword": ["mongodb://HOST", "--username", "ada", "--password", CANARY],
    "a token by keyword": [
        *("mongodb://HOST/?authMechanism=MONGODB-AWS", "--username", AWS_ID),
        *("--password", CANARY, "--authMechanismProperties", f"AWS_SESSION_TOKEN:{CANARY}"),
    ],
}
# Whose secret is none of the string's.
BROKEN: dict[str, list[str]] = {
    "unescaped": [f"mongodb://ada:{CANARY}@HOST/shop"],
    "no scheme": [f"mongo://ada:{CANARY}@HOST/shop"],
    "two strings": [f"mongodb://ada:{ESCAPED}@HOST", f"mongodb://bob:{ESCAPED}@HOST"],
    "an option": [f"mongodb://ada:{ESCAPED}@HOST/?noSuchOption={ESCAPED}"],
    "a keyword": [f"mongodb://ada:{ESCAPED}@HOST", "--noSuchOption", CANARY],
    "a number": [f"mongodb://ada:{ESCAPED}@HOST", "--maxPoolSize", "x", "--password", CANARY],
    "proxy": [f"mongodb://HOST/?proxyHost=h&proxyUsername=u&proxyPassword={ESCAPED}"],
    "quoted": [f"'mongodb://ada:{ESCAPED}@HOST'"],
    "cut": [f"mongodb://ada:{CANARY}"],
}


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("arguments", LOGINS.values(), ids=LOGINS)
def test_a_refused_login_shows_no_secret(
    refusing: ScriptedServer, arguments: list[str], as_json: bool
) -> None:
    given = [each.replace("HOST", f"127.0.0.1:{refusing.port}") for each in arguments]
    code, output = run(*given, *(["--json"] if as_json else []))
    assert code == 6, output
    assert AWS_ID not in output
    if as_json:
        assert json.loads(output)["failed"] == "login"


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("arguments", BROKEN.values(), ids=BROKEN)
def test_what_cannot_be_read_shows_no_secret(
    refusing: ScriptedServer, arguments: list[str], as_json: bool
) -> None:
    given = [each.replace("HOST", f"127.0.0.1:{refusing.port}") for each in arguments]
    code, output = run(*given, *(["--json"] if as_json else []))
    assert code in (2, 6), output


@pytest.mark.usefixtures("logs")
def test_the_password_of_a_key_shows_nowhere(tmp_path: Path) -> None:
    pair = Authority(tmp_path).issue("client")
    path = pair.encrypted_pem("another")
    with ScriptedServer(on=ANSWERS) as server:
        code, _ = run(
            f"mongodb://127.0.0.1:{server.port}/?tlsCertificateKeyFile={path}",
            *("--tlsCertificateKeyFilePassword", CANARY),
        )
    assert code == 5


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("token", [CANARY, f"{CANARY}\n", f"e30.{CANARY}.c4nary"])
def test_a_refused_token_is_not_shown(
    refusing: ScriptedServer,
    token: str,
    as_json: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MONGODB-OIDC: the token is in a file, as Kubernetes puts it there."""
    file = tmp_path / "token"
    file.write_text(token)
    monkeypatch.delenv("AZURE_FEDERATED_TOKEN_FILE", raising=False)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(file))
    code, output = run(
        f"mongodb://127.0.0.1:{refusing.port}/?authMechanism=MONGODB-OIDC"
        "&authMechanismProperties=ENVIRONMENT:k8s",
        *(["--json"] if as_json else []),
    )
    assert code == 6, output


@pytest.mark.usefixtures("logs")
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_refused_certificate_shows_no_password_of_its_key(tmp_path: Path, as_json: bool) -> None:
    """MONGODB-X509: the key's password is right, the user is refused."""
    authority = Authority(tmp_path)
    pair, client = authority.issue("server", "127.0.0.1"), authority.issue("client")
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(pair.pem)
    served.load_verify_locations(authority.certificate_file)
    served.verify_mode = ssl.CERT_REQUIRED
    with ScriptedServer(on=REFUSED, tls=served) as server:
        code, output = run(
            f"mongodb://127.0.0.1:{server.port}/?authMechanism=MONGODB-X509"
            f"&tlsCAFile={authority.certificate_file}"
            f"&tlsCertificateKeyFile={client.encrypted_pem(CANARY)}",
            *("--tlsCertificateKeyFilePassword", CANARY),
            *(["--json"] if as_json else []),
        )
    assert code == 6, output
    assert "X509-USER-UNKNOWN" in output


@pytest.mark.usefixtures("logs")
def test_a_login_that_works_shows_no_secret() -> None:
    with ScriptedServer(login=Login("ada", CANARY), on=ANSWERS) as server:
        uri = f"mongodb://ada:{ESCAPED}@127.0.0.1:{server.port}/?authSource=admin"
        for more in ([], ["--json"], ["--all-hosts"]):
            code, output = run(uri, *more)
            assert code == 0, output


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (string_step, "find_mistakes"),
        (hello_step, "candidates"),
        (login_step, "find_diagnoses"),
        (login_step, "look_at_login"),
        (login_step, "open_conversation"),
    ],
    ids=["string", "hello", "login", "a closer look", "conversation"],
)
def test_a_fault_of_our_own_shows_no_secret(
    refusing: ScriptedServer, module: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*given: Any, **options: Any) -> Any:
        del given, options
        raise RuntimeError("a fault")

    monkeypatch.setattr(module, name, broken)
    code, output = run(f"mongodb://ada:{ESCAPED}@127.0.0.1:{refusing.port}/")
    assert code == 1
    assert "a fault" in output
    # And where a program runs the check, its reporter sees the frames.
    held = [f"mongodb://ada:{ESCAPED}@127.0.0.1:{refusing.port}/"]
    try:
        run_check(held.pop(), timeout_s=10)
    except RuntimeError as error:
        own = error.__traceback__
        assert own is not None
        report = traceback.TracebackException(type(error), error, own.tb_next, capture_locals=True)
        check_texts("".join(report.format()))
    else:
        pytest.fail("the fault was not raised")
    assert sys.exc_info()[1] is None
