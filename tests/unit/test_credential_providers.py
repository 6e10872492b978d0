"""The ready providers of `mongokey.credentials`: files that are swapped as kubelet does, the
environment, a keyring in a file, Secrets Manager by moto."""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mongokey import MongoClient, credentials
from mongokey.credentials import (
    AwsSecret,
    Request,
    Secret,
    X509Secret,
    from_aws_secret,
    from_env,
    from_file,
    from_keyring,
)
from mongokey.errors import ConfigurationError
from tests.servers.needs import need_module

HIDDEN_TEXT = "hunter2"


def request(
    mechanism: str | None = None, username: str | None = None, reason: Any = "new"
) -> Request:
    return Request(mechanism, username, ("db.example.com", 27017), reason)


def test_values_show_no_secret_and_are_equal_whenever_they_expire() -> None:
    values: list[Any] = [
        Secret("ada", HIDDEN_TEXT),
        X509Secret(HIDDEN_TEXT, HIDDEN_TEXT, HIDDEN_TEXT, "CN=ada"),
        AwsSecret("AKIA" + HIDDEN_TEXT, HIDDEN_TEXT, HIDDEN_TEXT),
    ]
    for value in values:
        assert HIDDEN_TEXT not in repr(value)
        assert HIDDEN_TEXT not in str(value)
    assert Secret("ada", "x", 1) == Secret("ada", "x", 2)
    assert Secret("ada", "x") != Secret("ada", "y")
    assert repr(Secret("ada", "x", 5)) == "Secret(username='ada', expires_in_s=5)"
    assert "ada" in repr(pickle.loads(pickle.dumps(request(username="ada"))))


class TestFile:
    @pytest.mark.parametrize(
        ("content", "known", "wanted"),
        [
            ("ada:hunter2", None, Secret("ada", "hunter2")),
            ("ada:hunter2\n", None, Secret("ada", "hunter2")),
            ("ada:hunter2\r\n", None, Secret("ada", "hunter2")),
            ("ada:hunter2\n\n", None, Secret("ada", "hunter2\n")),
            ("ada: hunter2 ", None, Secret("ada", " hunter2 ")),
            ("ada:a:b", None, Secret("ada", "a:b")),
            ("hunter2\n", "ada", Secret(None, "hunter2")),
            ("a:b\n", "ada", Secret(None, "a:b")),
            ('{"username": "ada", "password": "hunter2"}\n', None, Secret("ada", "hunter2")),
            ('{"user": "ada", "pwd": "hunter2"}', None, Secret("ada", "hunter2")),
            ('{"password": "hunter2"}', "ada", Secret(None, "hunter2")),
            ("жanna:пароль", None, Secret("жanna", "пароль")),
        ],
    )
    def test_forms(self, tmp_path: Path, content: str, known: str | None, wanted: Secret) -> None:
        path = tmp_path / "secret"
        path.write_bytes(content.encode())
        found = from_file(path)(request(username=known))
        assert found == wanted
        assert found.expires_in_s is None

    def test_its_own_username(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text("a:b")
        found = from_file(path, username="ada", refresh_s=60)(request())
        assert found == Secret("ada", "a:b")
        assert found.expires_in_s == 60

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"hunter2", "no user name: write user:password"),
            (b":hunter2", "no user name"),
            (b"ada:", "empty password"),
            (b"{hunter2", "begins with a brace, but is no JSON object"),
            (b'{"username": "ada"}', "has no password or pwd"),
            (b'{"username": 1, "password": "hunter2"}', "username is a int, not a text"),
            (b"ada:hunter2\xff", "is not in UTF-8"),
        ],
    )
    def test_what_cannot_be_read_names_the_file_and_nothing_in_it(
        self, tmp_path: Path, content: bytes, said: str
    ) -> None:
        path = tmp_path / "secret"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=said) as failed:
            from_file(path)(request())
        assert str(path) in str(failed.value)
        assert HIDDEN_TEXT not in str(failed.value)
        assert failed.value.__cause__ is None
        assert failed.value.__context__ is None

    def test_one_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no-such"):
            from_file(tmp_path / "no-such")(request())

    def test_certificates_and_keys_of_aws(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text("-----BEGIN CERTIFICATE-----\n")
        found = from_file(path)(request("MONGODB-X509"))
        assert found == X509Secret("-----BEGIN CERTIFICATE-----")
        path.write_text(json.dumps({"AccessKeyId": "AKIA", "SecretAccessKey": "s"}))
        assert from_file(path)(request("MONGODB-AWS")) == AwsSecret("AKIA", "s")
        path.write_text("AKIA:s")
        with pytest.raises(ValueError, match="is no JSON object: for MONGODB-AWS"):
            from_file(path)(request("MONGODB-AWS"))
        folder = tmp_path / "tls"
        folder.mkdir()
        (folder / "tls.crt").write_text("CERT\n")
        (folder / "tls.key").write_text("KEY\n")
        assert from_file(folder)(request("MONGODB-X509")) == X509Secret("CERT", "KEY")

    def test_a_folder_that_is_swapped_is_read_from_one_version(self, tmp_path: Path) -> None:
        """As kubelet does: a new folder, a link that is replaced in one step, the old one gone."""

        def write(number: int) -> Path:
            version = tmp_path / f"..{number}"
            version.mkdir()
            (version / "username").write_text(f"user{number}\n")
            (version / "password").write_text(f"password{number}\n")
            (tmp_path / "..data_tmp").symlink_to(version.name)
            os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
            return version

        before = write(0)
        for name in ("username", "password"):
            (tmp_path / name).symlink_to(Path("..data") / name)
        provider = from_file(tmp_path)
        assert provider(request()) == Secret("user0", "password0")
        ended = threading.Event()
        found: set[tuple[str, str]] = set()
        errors: list[Exception] = []

        def read() -> None:
            try:
                while not ended.is_set():
                    secret = provider(request())
                    found.add((secret.username[4:], secret.password[8:]))
            except Exception as error:
                errors.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        for number in range(1, 100):
            after = write(number)
            for each in before.iterdir():
                each.unlink()
            before.rmdir()
            before = after
        ended.set()
        reader.join(30)
        assert errors == []
        assert all(user == password for user, password in found)
        assert provider(request()) == Secret("user99", "password99")


class TestEnvironment:
    def test_forms(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setenv("DB_LOGIN", "ada:hunter2\n")
        assert from_env("DB_LOGIN")(request()) == Secret("ada", "hunter2")
        assert from_env("DB_LOGIN", username="bob")(request()) == Secret("bob", "ada:hunter2")
        monkeypatch.setenv("DB_USER", "eve")
        found = from_env("DB_LOGIN", username_variable="DB_USER")(request())
        assert found == Secret("eve", "ada:hunter2")
        monkeypatch.delenv("DB_USER")
        with pytest.raises(KeyError, match="DB_USER is not set"):
            from_env("DB_LOGIN", username_variable="DB_USER")(request())
        monkeypatch.delenv("DB_LOGIN")
        with pytest.raises(KeyError, match="neither DB_LOGIN nor DB_LOGIN_FILE is set"):
            from_env("DB_LOGIN")(request())
        (tmp_path / "login").write_text("ada:from a file\n")
        monkeypatch.setenv("DB_LOGIN_FILE", str(tmp_path / "login"))
        assert from_env("DB_LOGIN")(request()) == Secret("ada", "from a file")


def test_the_connection_string_names_files_and_variables() -> None:
    client = MongoClient("mongodb://ada@localhost/?credentialsFile=/run/secrets/db&authSource=app")
    assert client.options.credential.provider.name == "from_file('/run/secrets/db')"
    assert (client.options.credential.username, client.options.credential.source) == ("ada", "app")
    client = MongoClient("mongodb://localhost/?credentialsEnv=DB_LOGIN")
    assert client.options.credential.provider.name == "from_env('DB_LOGIN')"


class TestKeyring:
    @pytest.fixture
    def keyring(self, tmp_path: Path) -> Any:
        need_module("keyring", extra="keyring")
        file = need_module("keyrings.alt.file", extra="test")
        found = file.PlaintextKeyring()
        found.file_path = str(tmp_path / "keyring.cfg")
        return found

    def test_by_user_and_by_service(self, keyring: Any) -> None:
        keyring.set_password("mongodb-app", "ada", "hunter2")
        assert from_keyring("mongodb-app", "ada", keyring=keyring)(request()) == Secret(
            "ada", "hunter2"
        )
        found = from_keyring("mongodb-app", keyring=keyring)(request(username="ada"))
        assert found == Secret("ada", "hunter2")
        keyring.set_password("mongodb-app", "ada", "changed")
        assert from_keyring("mongodb-app", "ada", keyring=keyring)(request()).password == "changed"

    def test_what_is_missing(self, keyring: Any) -> None:
        with pytest.raises(LookupError, match="no password of 'ada' for 'mongodb-app'"):
            from_keyring("mongodb-app", "ada", keyring=keyring)(request())
        with pytest.raises(LookupError, match="nothing for 'mongodb-app'"):
            from_keyring("mongodb-app", keyring=keyring)(request())

    def test_without_the_library(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(__import__("sys").modules, "keyring", None)
        with pytest.raises(ConfigurationError, match=r"pip install 'mongokey\[keyring\]'"):
            from_keyring("mongodb-app")(request())


class TestSecretsManager:
    @pytest.fixture
    def service(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        boto3 = need_module("boto3", extra="aws")
        moto = need_module("moto", extra="test")
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "testing")
        with moto.mock_aws():
            yield boto3.client("secretsmanager", region_name="eu-west-1")

    def test_it_follows_the_current_version(self, service: Any) -> None:
        value = {"username": "ada", "password": "hunter2", "engine": "mongo"}
        service.create_secret(Name="app/db", SecretString=json.dumps(value))
        provider = from_aws_secret("app/db", region_name="eu-west-1")
        assert provider(request()) == Secret("ada", "hunter2")
        value["password"] = "changed"
        service.put_secret_value(SecretId="app/db", SecretString=json.dumps(value))
        assert provider(request(reason="refused")) == Secret("ada", "changed")
        previous = from_aws_secret("app/db", version_stage="AWSPREVIOUS", client=service)
        assert previous(request()) == Secret("ada", "hunter2")

    def test_binary_and_what_is_missing(self, service: Any) -> None:
        service.create_secret(Name="binary", SecretBinary=b"ada:hunter2\n")
        assert from_aws_secret("binary", client=service)(request()) == Secret("ada", "hunter2")
        with pytest.raises(service.exceptions.ResourceNotFoundException):
            from_aws_secret("no-such", client=service)(request())


def test_every_name_is_loaded_late() -> None:
    assert {name for name in credentials.__all__ if name.startswith("from_")} == {
        "from_aws_secret",
        "from_env",
        "from_file",
        "from_keyring",
        "from_vault",
    }
    with pytest.raises(AttributeError):
        credentials.from_nowhere  # type: ignore[attr-defined]  # noqa: B018
