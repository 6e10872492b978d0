"""What libmongocrypt needs on its way to a result, as steps: collections, markings, keys, requests.

It knows the states of libmongocrypt (client-side-encryption, "libmongocrypt integration"). Every
call that may wait is yielded, and the step's result sent in; see `_support.jobs`. It must not know
what is encrypted.
"""

from __future__ import annotations

from mongokey import bson
from mongokey._support.lazy import late_imports
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.crypt.credentials import find_credentials
from mongokey.errors import EncryptionError, InvalidOperation

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mongokey._support.deadline import Deadline
    from mongokey._support.jobs import JobSteps
    from mongokey.crypt.kms import KMSConnections
    from mongokey.crypt.mongocryptd import Mongocryptd


class EncryptionIO:
    """Whom libmongocrypt's questions are put to.

    :param vault: the collection of the data keys, whose documents are raw
    :param kms: connections to key management systems
    :param providers: `kms_providers`, of which those that are empty have credentials looked for
    :param metadata: () -> the client that is asked about collections; None: nobody is
    :param mongocryptd: what marks commands; None: nobody does
    :param vault_of: () -> that collection, where it is not to be kept; None: `vault`
    """

    def __init__(
        self,
        vault: Any,
        kms: KMSConnections,
        providers: Mapping[str, Any],
        metadata: Any = None,
        mongocryptd: Mongocryptd | None = None,
        vault_of: Callable[[], Any] | None = None,
    ) -> None:
        self._vault = vault
        self._vault_of = vault_of
        self.kms = kms
        self.mongocryptd = mongocryptd
        self._metadata = metadata
        self._on_demand = [name for name, value in providers.items() if not value]

    def run(self, context: Any, deadline: Deadline | None) -> JobSteps[bytes | None]:
        """Have libmongocrypt come to the end of what `context` is for: its result, a document; None
        for none. The context is closed then."""
        with late_imports:
            from pymongocrypt.binding import lib

        with context:
            while True:
                state = context.state
                if state == lib.MONGOCRYPT_CTX_READY:
                    result: bytes = context.finish()
                    return result
                if state == lib.MONGOCRYPT_CTX_DONE:
                    return None
                if state == lib.MONGOCRYPT_CTX_NEED_MONGO_COLLINFO:
                    answers = yield from self._collections(
                        context.database, context.mongo_operation()
                    )
                elif state == lib.MONGOCRYPT_CTX_NEED_MONGO_MARKINGS:
                    answers = yield from self._mark(context.database, context.mongo_operation())
                elif state == lib.MONGOCRYPT_CTX_NEED_MONGO_KEYS:
                    answers = yield from self._keys(context.mongo_operation())
                elif state == lib.MONGOCRYPT_CTX_NEED_KMS:
                    for request in context.kms_contexts():
                        with request:
                            yield from self.kms.request(request, deadline)
                    context.complete_kms()
                    continue
                elif state == lib.MONGOCRYPT_CTX_NEED_KMS_CREDENTIALS:
                    found = yield from find_credentials(self._on_demand, deadline)
                    context.provide_kms_providers(bson.encode(found.reveal()))
                    continue
                else:
                    # It says what is wrong.
                    context._raise_from_status()
                    raise EncryptionError(RuntimeError(f"unknown state of libmongocrypt: {state}"))
                for each in answers:
                    context.add_mongo_operation_result(each)
                context.complete_mongo_operation()

    def _collections(self, database: str, filter: bytes) -> JobSteps[list[bytes]]:
        client = None if self._metadata is None else self._metadata()
        if client is None:
            raise InvalidOperation("Cannot use MongoClient after close")
        cursor = yield client[database].list_collections(filter=RawBSONDocument(filter))
        documents = yield cursor.to_list()
        return [bson.encode(each) for each in documents]

    def _mark(self, database: str, command: bytes) -> JobSteps[list[bytes]]:
        if self.mongocryptd is None:
            raise InvalidOperation("Cannot use MongoClient after close")
        return [(yield from self.mongocryptd.mark(database, command))]

    def _keys(self, filter: bytes) -> JobSteps[list[bytes]]:
        vault = self._vault if self._vault_of is None else self._vault_of()
        if vault is None:
            raise InvalidOperation("Cannot use MongoClient after close")
        documents = yield vault.find(RawBSONDocument(filter)).to_list()
        return [each.raw for each in documents]


__all__ = ["EncryptionIO"]
