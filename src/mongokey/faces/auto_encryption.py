"""`AutoEncrypter`: what encrypts the commands of a client and decrypts the replies.

It knows a client, its `AutoEncryptionOpts` and libmongocrypt, and hands the steps of its work to
the face (`_support.jobs`). When a command is encrypted, `execution.execution` says.
"""

from __future__ import annotations

import weakref

from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.crypt.kms import KMSConnections, read_kms_tls_options
from mongokey.crypt.library import as_encryption_errors, open_library
from mongokey.crypt.machine import EncryptionIO
from mongokey.crypt.messages import encrypted_message, plain_command
from mongokey.crypt.mongocryptd import Mongocryptd
from mongokey.execution.time_limits import within
from mongokey.faces.encryption_base import key_vault

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from mongokey._support.jobs import JobSteps
    from mongokey.execution.execution import Execution
    from mongokey.faces.client_base import ClientBase
    from mongokey.options.auto_encryption import AutoEncryptionOpts


class AutoEncrypter:
    """The encryption of `client`, as `options` have it.

    `carry_out` carries out steps on the client's face; `make_client` makes a client from a host and
    options that is the driver's own. Raises what is wrong with the options.
    """

    def __init__(
        self,
        client: ClientBase[Any],
        options: AutoEncryptionOpts,
        carry_out: Callable[[JobSteps[Any]], Any],
        make_client: Callable[..., Any],
    ) -> None:
        self._carry_out = carry_out
        # Wrong ones are told before anything is made that has to be closed.
        kms = KMSConnections(
            read_kms_tls_options(options._kms_tls_options), options._kms_connect_callback
        )
        self._bypass_auto_encryption = options._bypass_auto_encryption
        self._library = open_library(
            options._kms_providers,
            schema_map=options._schema_map,
            encrypted_fields_map=options._encrypted_fields_map,
            crypt_shared_lib_path=options._crypt_shared_lib_path,
            crypt_shared_lib_required=options._crypt_shared_lib_required,
            bypass_encryption=options._bypass_auto_encryption,
            bypass_query_analysis=options._bypass_query_analysis,
            key_expiration_ms=options._key_expiration_ms,
        )
        # client-side-encryption, "Internal MongoClient": where the pool is limited, what is asked
        # on the way to a command must not wait for the connection that the command has.
        self._internal: Any = None
        helper: Any = client
        if client.options.pool_options.max_pool_size and (
            options._key_vault_client is None or not options._bypass_auto_encryption
        ):
            helper = self._internal = client._for_driver(client.options)
        vault_client = options._key_vault_client
        if vault_client is None:
            vault_client = helper
        ask = weakref.ref(helper) if helper is client else lambda: self._internal
        self._vault_of: Any = None
        if vault_client is client:
            # Not kept: it would keep the client alive, which keeps this.
            self._vault_of = weakref.ref(client)
        self._namespace = options._key_vault_namespace
        self._io = EncryptionIO(
            None if self._vault_of is not None else key_vault(vault_client, self._namespace),
            kms,
            options._kms_providers,
            None if options._bypass_auto_encryption else ask,
            None if options._bypass_auto_encryption else Mongocryptd(options, make_client),
            vault_of=None if self._vault_of is None else self._own_vault,
        )

    def _own_vault(self) -> Any:
        client = self._vault_of()
        return None if client is None else key_vault(client, self._namespace)

    def encrypt(self, execution: Execution) -> Any:
        """Carry out the step ENCRYPT of an execution."""
        return self._carry_out(self._steps_of_encrypt(execution))

    def decrypt(self, execution: Execution) -> Any:
        """Carry out the step DECRYPT of an execution."""
        return self._carry_out(self._steps_of_decrypt(execution))

    def _steps_of_encrypt(self, execution: Execution) -> JobSteps[None]:
        deadline = execution.deadline
        with as_encryption_errors(), within(deadline), self._library.used() as library:
            database, own_size = execution.plain_command
            command = plain_command(execution.message, own_size)
            context = library.encryption_context(database, command.document)
            found = yield from self._io.run(context, deadline)
            if found == command.document:
                found = None  # nothing was to be encrypted
            if found is not None and b"\x02$db\0" in found:
                found = without_database(found)
        execution.encrypted(None if found is None else encrypted_message(command, found))

    def _steps_of_decrypt(self, execution: Execution) -> JobSteps[None]:
        deadline = execution.deadline
        with as_encryption_errors(), within(deadline), self._library.used() as library:
            sealed = execution.sealed_reply
            found = yield from self._io.run(library.decryption_context(sealed), deadline)
        execution.decrypted(found)

    def close(self) -> JobSteps[None]:
        """Close what it has. The client's operations have ended, or find it closed."""
        self._library.close()
        try:
            if self._io.mongocryptd is not None:
                yield from self._io.mongocryptd.close()
        finally:
            internal, self._internal = self._internal, None
            if internal is not None:
                yield internal.close()

    def let_go(self) -> None:
        """The client is garbage: so is what it has, which says nothing about it."""
        self._library.close()
        self._internal = None
        if self._io.mongocryptd is not None:
            self._io.mongocryptd.take_client()


def without_database(document: bytes) -> bytes:
    """The document without an element ``$db`` of its own, which the driver writes itself."""
    from mongokey import bson

    found: Mapping[str, Any] = RawBSONDocument(document)
    if "$db" not in found:
        return document
    return bson.encode({name: value for name, value in found.items() if name != "$db"})


__all__ = ["AutoEncrypter", "without_database"]
