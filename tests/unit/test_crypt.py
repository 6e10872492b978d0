"""Client-side encryption without a server: commands in messages, the execution's two steps,
options, and what an import costs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from mongokey import bson, wire
from mongokey.bson import Int64
from mongokey.commands.command import Command, CursorCommand
from mongokey.crypt.kms import KMSConnectContext, _address
from mongokey.crypt.library import Library, as_encryption_errors
from mongokey.crypt.messages import encrypted_message, plain_command
from mongokey.encryption_options import RangeOpts, StringOpts
from mongokey.errors import (
    ConfigurationError,
    DocumentTooLarge,
    EncryptionError,
    InvalidDocument,
    InvalidOperation,
)
from mongokey.execution.execution import STEPS, Execution
from mongokey.execution.operation import Namespace
from mongokey.faces.auto_encryption import without_database
from tests.servers.scripted import primary
from tests.unit._executions import Deployment, lost

WARM = ["check out", "encrypt", "exchange", "decrypt", "done"]


class Crypt:
    """Encrypts by writing `sealed` into each command, and decrypts into `clear`."""

    def __init__(self) -> None:
        self.plain: list[Any] = []
        self.error: Exception | None = None

    def encrypt(self, execution: Execution) -> None:
        database, own_size = execution.plain_command
        command = plain_command(execution.message, own_size)
        self.plain.append((database, bson.decode(command.document)))
        if self.error is not None:
            raise self.error
        document = {**bson.decode(command.document), "sealed": True}
        execution.encrypted(encrypted_message(command, bson.encode(document)))

    def decrypt(self, execution: Execution) -> None:
        if self.error is not None:
            raise self.error
        reply = bson.decode(execution.sealed_reply)
        execution.decrypted(bson.encode({**reply, "clear": True}))


class EncryptedDeployment(Deployment):
    """One whose executions are encrypted by a `Crypt`."""

    def __init__(self, encrypts: bool = True) -> None:
        super().__init__(primary())
        self.crypt = Crypt()
        self.executor.set_crypt(self.crypt, encrypts)

    def take(self, step: str, execution: Execution) -> None:
        if step == "encrypt":
            self.crypt.encrypt(execution)
        elif step == "decrypt":
            self.crypt.decrypt(execution)
        else:
            super().take(step, execution)


@pytest.fixture
def deployment() -> EncryptedDeployment:
    return EncryptedDeployment()


class TestSteps:
    def test_a_command_is_encrypted_and_its_reply_decrypted(
        self, deployment: EncryptedDeployment
    ) -> None:
        deployment.script["exchange"].append({"ok": 1, "answer": 42})
        assert deployment.run({"find": "y"}) == {"ok": 1, "answer": 42, "clear": True}
        assert deployment.steps == WARM
        assert deployment.crypt.plain == [("x", {"find": "y"})]
        (sent,) = deployment.commands
        assert sent["sealed"] is True
        assert list(sent)[:2] == ["find", "sealed"]
        assert sent["$db"] == "x"
        assert "lsid" in sent

    def test_one_that_only_decrypts(self) -> None:
        deployment = EncryptedDeployment(encrypts=False)
        assert deployment.run({"find": "y"})["clear"] is True
        assert deployment.steps == ["check out", "exchange", "decrypt", "done"]

    def test_a_command_that_is_tried_again_is_encrypted_again(
        self, deployment: EncryptedDeployment
    ) -> None:
        deployment.script["exchange"] += [lost(), {"ok": 1}]
        deployment.run({"insert": "y"}, retryable_write=True)
        assert len(deployment.crypt.plain) == 2
        first, second = deployment.commands
        assert first["txnNumber"] == second["txnNumber"]
        assert second["sealed"] is True

    def test_what_cannot_be_encrypted_is_not_sent(self, deployment: EncryptedDeployment) -> None:
        deployment.crypt.error = EncryptionError(ValueError("no"))
        with pytest.raises(EncryptionError):
            deployment.run({"insert": "y"}, retryable_write=True)
        assert deployment.commands == []
        assert deployment.pool.idle_count == 2

    def test_an_error_of_the_server_is_not_decrypted(self, deployment: EncryptedDeployment) -> None:
        deployment.script["exchange"].append({"ok": 0, "errmsg": "no", "code": 5})
        with pytest.raises(Exception, match="no"):
            deployment.run({"find": "y"})
        assert "decrypt" not in deployment.steps

    def test_a_cursor_that_nobody_learns_of_is_to_be_killed(
        self, deployment: EncryptedDeployment
    ) -> None:
        cursor = {"id": Int64(7), "ns": "x.y", "firstBatch": []}
        deployment.script["exchange"].append({"ok": 1, "cursor": cursor})

        def fail(execution: Execution) -> None:
            raise EncryptionError(ValueError("no"))

        deployment.crypt.decrypt = fail  # type: ignore[method-assign]
        with pytest.raises(EncryptionError):
            deployment.run(CursorCommand(Namespace("x", "y"), {"find": "y"}))
        assert deployment.executor.has_pending_cursors

    def test_a_message_that_became_too_long(self) -> None:
        deployment = EncryptedDeployment()

        def grow(execution: Execution) -> None:
            execution.encrypted(execution.message + bytes(execution.connection.max_message_size))

        deployment.crypt.encrypt = grow  # type: ignore[method-assign]
        with pytest.raises(DocumentTooLarge, match="maxMessageSizeBytes"):
            deployment.run({"insert": "y"})

    def test_events_out_of_turn_are_refused(self, deployment: EncryptedDeployment) -> None:
        execution = Execution(deployment.executor, Command(Namespace("x"), {"ping": 1}))
        for event in (execution.encrypted, execution.decrypted):
            with pytest.raises(InvalidOperation):
                event(None)
        assert STEPS[execution.advance()] == "check out"
        execution.checked_out(deployment.connect(), deployment.now)
        assert STEPS[execution.advance()] == "encrypt"
        assert STEPS[execution.advance()] == "encrypt"
        execution.encrypted(None)
        assert STEPS[execution.advance()] == "exchange"
        execution.end()


class TestMessages:
    def test_sequences_become_arrays(self) -> None:
        documents = [{"_id": n, "text": "x" * n} for n in range(12)]
        message = wire.encode_message(
            {"insert": "c", "ordered": True, "$db": "d"}, sections={"documents": documents}
        )
        own = len(bson.encode({"insert": "c", "ordered": True})) - 1
        command = plain_command(message, own)
        assert bson.decode(command.document) == {
            "insert": "c",
            "ordered": True,
            "documents": documents,
        }
        back = encrypted_message(command, bson.encode({"insert": "c", "documents": []}))
        (size,) = (int.from_bytes(back[21:25], "little"),)
        assert len(back) == 21 + size
        assert bson.decode(back[21:]) == {"insert": "c", "documents": [], "$db": "d"}

    def test_a_database_is_named_once(self) -> None:
        document = bson.encode({"find": "c", "$db": "d", "filter": {"$db": "kept"}})
        assert bson.decode(without_database(document)) == {"find": "c", "filter": {"$db": "kept"}}
        other = bson.encode({"find": "c", "filter": {"$db": "kept"}})
        assert without_database(other) is other


class TestLibrary:
    class Opened:
        closed = 0

        def close(self) -> None:
            self.closed += 1

    def counted(self) -> tuple[Library, list[Opened]]:
        """A library, and what was opened for it so far."""
        made: list[TestLibrary.Opened] = []

        def make() -> Any:
            made.append(self.Opened())
            return made[-1]

        return Library(make), made

    def test_it_is_freed_when_nobody_uses_it_any_more(self) -> None:
        opened = self.Opened()
        library = Library(lambda: opened)
        with library.used() as one, library.used():
            assert one is opened
            library.close()
            assert opened.closed == 0
            with pytest.raises(InvalidOperation), library.used():
                pass
        assert opened.closed == 1
        library.close()
        assert opened.closed == 1

    def test_a_forked_child_opens_it_anew(self) -> None:
        library, made = self.counted()
        library._lock.acquire()  # by a thread that is not in the child
        library.reset_after_fork()
        with library.used() as one, library.used() as other:
            assert one is other is made[1]
        library.close()
        assert [each.closed for each in made] == [0, 1]
        library.reset_after_fork()
        with pytest.raises(InvalidOperation), library.used():
            pass

    def test_a_fork_while_it_is_used(self) -> None:
        library, made = self.counted()
        with library.used() as parents:
            library.reset_after_fork()
            with library.used() as own:
                assert own is not parents
        library.close()
        assert [each.closed for each in made] == [0, 1]

    @pytest.mark.parametrize("error", [ValueError("x"), OSError("x"), InvalidOperation("x")])
    def test_errors_are_of_encryption(self, error: Exception) -> None:
        with pytest.raises(EncryptionError) as raised, as_encryption_errors():
            raise error
        assert raised.value.cause is error

    @pytest.mark.parametrize(
        "error", [InvalidDocument("x"), ConfigurationError("x"), EncryptionError(ValueError())]
    )
    def test_but_for_those_that_say_it_themselves(self, error: Exception) -> None:
        with pytest.raises(type(error)) as raised, as_encryption_errors():
            raise error
        assert raised.value is error


class TestOptions:
    def test_ranges(self) -> None:
        assert RangeOpts().document == {}
        document = RangeOpts(sparsity=1, trim_factor=2, min=0, max=9, precision=3).document
        assert document == {"sparsity": 1, "trimFactor": 2, "precision": 3, "min": 0, "max": 9}
        assert type(document["sparsity"]) is Int64

    def test_strings(self) -> None:
        lengths: Any = {"strMinQueryLength": 1, "strMaxQueryLength": 2}
        options = StringOpts(prefix=lengths, case_sensitive=False, diacritic_sensitive=True)
        assert options.document == {
            "prefix": lengths,
            "caseSensitive": False,
            "diacriticSensitive": True,
        }

    @pytest.mark.parametrize(
        ("endpoint", "address"),
        [
            ("kms.example.com", ("kms.example.com", 443)),
            ("kms.example.com:5698", ("kms.example.com", 5698)),
            ("[::1]", ("::1", 443)),
            ("[::1]:44", ("::1", 44)),
        ],
    )
    def test_endpoints(self, endpoint: str, address: tuple[str, int]) -> None:
        assert _address(endpoint) == address

    @pytest.mark.parametrize("endpoint", ["a:0", "a:65536", "a:b", ":443", "", "/tmp/x.sock"])
    def test_wrong_endpoints(self, endpoint: str) -> None:
        with pytest.raises(ConfigurationError, match="Invalid KMS endpoint"):
            _address(endpoint)

    def test_what_a_callback_is_told(self) -> None:
        context = KMSConnectContext("host", 443, 5.0)
        assert context == KMSConnectContext("host", 443, 5.0)
        assert hash(context) == hash(KMSConnectContext("host", 443, 5.0))
        assert repr(context) == "KMSConnectContext(host='host', port=443, timeout=5.0)"


def test_imports_load_nothing_of_the_library() -> None:
    code = (
        "import sys, mongokey, mongokey.encryption, mongokey.asynchronous.encryption\n"
        "import mongokey.encryption_options\n"
        "mongokey.MongoClient(connect=False).close()\n"
        "print([each for each in ('pymongocrypt', 'cffi', 'httpx') "
        "if each in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.stdout.strip() == "[]", found.stderr
