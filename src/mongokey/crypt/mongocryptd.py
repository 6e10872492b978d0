"""mongocryptd, which says what of a command is to be encrypted: started where it is not there yet,
and asked.

It knows how the process is started, and that it ends by itself when nobody asks it for a minute.
It must not know commands.
"""

from __future__ import annotations

import subprocess
import threading
import warnings
from functools import partial

from mongokey._support.fork import call_after_fork
from mongokey._support.jobs import Blocking
from mongokey.bson.raw_bson import DEFAULT_RAW_BSON_OPTIONS, RawBSONDocument
from mongokey.errors import InvalidOperation, ServerSelectionTimeoutError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey._support.jobs import JobSteps
    from mongokey.options.auto_encryption import AutoEncryptionOpts

# client-side-encryption, "Connecting to mongocryptd".
SELECTION_TIMEOUT_MS = 10_000


class Mongocryptd:
    """The mongocryptd of one client.

    `make_client` gets its URI and options, and returns a client of the same face.
    """

    def __init__(self, options: AutoEncryptionOpts, make_client: Callable[..., Any]) -> None:
        self._options = options
        self._make_client = make_client
        self._making = threading.Lock()
        self._client: Any = None
        self._closed = False
        self._spawned = False
        call_after_fork(self)

    def reset_after_fork(self) -> None:
        """Make a new lock: who held it may not be in the child. The client resets itself."""
        self._making = threading.Lock()

    def mark(self, database: str, command: bytes) -> JobSteps[bytes]:
        """`command` with what is to be encrypted in it marked, as libmongocrypt wants it."""
        if not self._spawned and not self._options._mongocryptd_bypass_spawn:
            self._spawned = True
            yield Blocking(self._spawn)
        client = self._connected()
        document = RawBSONDocument(command)
        try:
            reply = yield _marked(client, database, document)
        except ServerSelectionTimeoutError:
            if self._options._mongocryptd_bypass_spawn:
                raise
            # It has ended meanwhile, as it does when it is idle.
            yield Blocking(self._spawn)
            reply = yield _marked(client, database, document)
        raw: bytes = reply.raw
        return raw

    def _connected(self) -> Any:
        with self._making:
            if self._closed:
                raise InvalidOperation("Cannot use MongoClient after close")
            if self._client is None:
                self._client = self._make_client(
                    self._options._mongocryptd_uri,
                    serverSelectionTimeoutMS=SELECTION_TIMEOUT_MS,
                    connect=False,
                )
            return self._client

    def _spawn(self) -> None:
        """Start the process, in a session of its own: a Ctrl-C is not for it."""
        path = self._options._mongocryptd_spawn_path or "mongocryptd"
        try:
            process = subprocess.Popen(  # noqa: S603 - what the user's options name
                [path, *self._options._mongocryptd_spawn_args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            warnings.warn(
                f"mongocryptd cannot be started: {path!r}: {error.strerror}; is it on the PATH? "
                "(mongocryptd_spawn_path)",
                RuntimeWarning,
                stacklevel=2,
            )
            return
        # Whoever ends has to be waited for: no zombie is left.
        threading.Thread(
            target=partial(process.wait), name="mongokey-mongocryptd", daemon=True
        ).start()

    def close(self) -> JobSteps[None]:
        """Close the client. The process is others' too, and ends by itself."""
        with self._making:
            self._closed = True
            client, self._client = self._client, None
        if client is not None:
            yield client.close()

    def take_client(self) -> Any:
        """The client, or None, to be let go without a word."""
        self._closed = True
        client, self._client = self._client, None
        return client


def _marked(client: Any, database: str, document: RawBSONDocument) -> Any:
    return client[database].command(document, codec_options=DEFAULT_RAW_BSON_OPTIONS)


__all__ = ["Mongocryptd"]
