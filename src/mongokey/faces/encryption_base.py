"""`EncryptionCore`: what explicit encryption does on both faces; `BlockingEncryptionBase`: how the
blocking one carries it out.

It knows libmongocrypt's operations, the key vault and their errors, as steps (`_support.jobs`).
PyMongo's names stand in `mongokey.encryption`.
"""

from __future__ import annotations

import uuid
from copy import deepcopy

from mongokey import bson
from mongokey._support.jobs import run_steps
from mongokey._support.lazy import late_imports
from mongokey._support.secrets import Secret, keeps_secrets
from mongokey.bson.binary import UUID_SUBTYPE, Binary
from mongokey.bson.codec_options import CodecOptions
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.crypt.kms import KMSConnections, read_kms_tls_options
from mongokey.crypt.library import as_encryption_errors, open_library
from mongokey.crypt.machine import EncryptionIO
from mongokey.errors import (
    ConfigurationError,
    EncryptedCollectionError,
    EncryptionError,
    InvalidOperation,
)
from mongokey.execution.time_limits import deadline_of, one_deadline
from mongokey.options.auto_encryption import (
    check_providers,
    check_vault_namespace,
    require_pymongocrypt,
)
from mongokey.read_concern import ReadConcern
from mongokey.write_concern import WriteConcern

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeVar

    from mongokey._support.jobs import JobSteps
    from mongokey.results import BulkWriteResult

    _Result = TypeVar("_Result")

ENCRYPTED_SUBTYPE = 6
_RAW = CodecOptions(document_class=RawBSONDocument)
_EMPTY = bson.encode({})


def key_vault(client: Any, namespace: str) -> Any:
    """The collection of the data keys, as the specification has it read and written."""
    database, collection = check_vault_namespace(namespace)
    return client[database][collection].with_options(
        codec_options=_RAW,
        read_concern=ReadConcern("majority"),
        write_concern=WriteConcern("majority"),
    )


class EncryptionCore:
    """The core of the `ClientEncryption` classes: all that does not wait, and the steps of what
    does."""

    _client_name: str
    _database_name: str
    # None: it is closed, or was never made.
    _library: Any = None
    _io: Any = None

    @keeps_secrets
    def __init__(
        self,
        kms_providers: Mapping[str, Any],
        key_vault_namespace: str,
        key_vault_client: Any,
        codec_options: CodecOptions[Any],
        kms_tls_options: Mapping[str, Any] | None = None,
        key_expiration_ms: int | None = None,
        kms_connect_callback: Any = None,
    ) -> None:
        require_pymongocrypt(type(self).__name__)
        if not isinstance(codec_options, CodecOptions):
            raise TypeError(
                "codec_options must be an instance of CodecOptions, not "
                f"{type(codec_options).__name__}"
            )
        _check_class(key_vault_client, self._client_name)
        if kms_connect_callback is not None and not callable(kms_connect_callback):
            raise TypeError(
                f"kms_connect_callback must be callable, not {type(kms_connect_callback).__name__}"
            )
        check_providers(kms_providers)
        self._codec_options = codec_options
        self._namespace = key_vault_namespace
        self._key_vault_coll = key_vault(key_vault_client, key_vault_namespace)
        self._executor = key_vault_client._executor
        kms = KMSConnections(read_kms_tls_options(kms_tls_options), kms_connect_callback)
        self._io = EncryptionIO(self._key_vault_coll, kms, kms_providers)
        self._library = open_library(
            kms_providers, bypass_encryption=True, key_expiration_ms=key_expiration_ms
        )

    def __repr__(self) -> str:
        namespace = self.__dict__.get("_namespace")
        return f"{type(self).__name__}(key_vault_namespace={namespace!r})"

    def __del__(self) -> None:
        self._end()

    def _check_closed(self) -> None:
        if self._library is None:
            raise InvalidOperation(f"Cannot use closed {type(self).__name__}")

    def _end(self) -> None:
        """Let the data keys go."""
        library, self._library = self._library, None
        self._io = None
        if library is not None:
            library.close()

    def _vault(self) -> Any:
        self._check_closed()
        return self._key_vault_coll

    def _run(self, context: Any) -> JobSteps[bytes]:
        """Have libmongocrypt do what `context` is for; all of it has one deadline."""
        executor = self._executor
        deadline = deadline_of(executor.timeout, executor.timed, None)
        found: bytes | None = yield from self._io.run(context, deadline)
        return _EMPTY if found is None else found

    def _steps_of_create_data_key(
        self, kms_provider: str, master_key: Any, key_alt_names: Any, key_material: Any
    ) -> JobSteps[Binary]:
        self._check_closed()
        material = Secret(key_material)
        del key_material
        with late_imports:
            from pymongocrypt.options import DataKeyOpts
        with as_encryption_errors(), one_deadline(self._executor), self._library.used() as library:
            names = [bson.encode({"keyAltName": name}) for name in key_alt_names or ()]
            if material.reveal() is not None:
                material = Secret(bson.encode({"keyMaterial": material.reveal()}))
            options = DataKeyOpts(
                None if master_key is None else dict(master_key), names, material.reveal()
            )
            context = library.data_key_context(kms_provider, options)
            key = RawBSONDocument((yield from self._run(context)), _RAW)
            found = key.get("_id")
            if not isinstance(found, Binary) or found.subtype != UUID_SUBTYPE:
                raise TypeError(f"a data key's _id must be a UUID, not {type(found).__name__}")
            yield self._key_vault_coll.insert_one(key)
            return found

    def _steps_of_rewrap(
        self, filter: Any, provider: str | None, master_key: Any
    ) -> JobSteps[BulkWriteResult | None]:
        """The requests of the bulk write that puts the rewrapped keys in place."""
        if master_key is not None and provider is None:
            raise ConfigurationError("A provider must be given if a master_key is given")
        self._check_closed()
        with late_imports:
            from mongokey.operations import UpdateOne
        with one_deadline(self._executor):
            with as_encryption_errors(), self._library.used() as library:
                context = library.rewrap_many_data_key_context(
                    filter, provider, None if master_key is None else dict(master_key)
                )
                raw = yield from self._run(context)
            keys = RawBSONDocument(raw, _RAW).get("v", ())
            requests = [
                UpdateOne(
                    {"_id": key["_id"]},
                    {
                        "$set": {"keyMaterial": key["keyMaterial"], "masterKey": key["masterKey"]},
                        "$currentDate": {"updateDate": True},
                    },
                )
                for key in keys
            ]
            if not requests:
                return None
            result: BulkWriteResult = yield self._key_vault_coll.bulk_write(requests)
            return result

    def _steps_of_encrypt(
        self,
        value: Any,
        algorithm: str,
        key_id: Any,
        key_alt_name: str | None,
        query_type: str | None,
        contention_factor: int | None,
        range_opts: Any,
        string_opts: Any,
        is_expression: bool,
    ) -> JobSteps[Any]:
        self._check_closed()
        with late_imports:
            from pymongocrypt.options import ExplicitEncryptOpts
        if isinstance(key_id, uuid.UUID):
            key_id = Binary.from_uuid(key_id)
        if key_id is not None and not (
            isinstance(key_id, Binary) and key_id.subtype == UUID_SUBTYPE
        ):
            raise TypeError("key_id must be a bson.binary.Binary with subtype 4")
        document = self._encoded({"v": value})
        ranges = None if not range_opts else self._encoded(range_opts.document)
        strings = None if not string_opts else self._encoded(string_opts.document)
        with as_encryption_errors(), one_deadline(self._executor), self._library.used() as library:
            options = ExplicitEncryptOpts(
                algorithm,
                key_id,
                None if key_alt_name is None else bson.encode({"keyAltName": key_alt_name}),
                query_type,
                contention_factor,
                ranges,
                is_expression,
                **({} if strings is None else _string_options(ExplicitEncryptOpts, strings)),
            )
            context = library.explicit_encryption_context(document, options)
            found = yield from self._run(context)
            return bson.decode(found)["v"]

    def _steps_of_decrypt(self, value: Any) -> JobSteps[Any]:
        self._check_closed()
        if not (isinstance(value, Binary) and value.subtype == ENCRYPTED_SUBTYPE):
            raise TypeError("value to decrypt must be a bson.binary.Binary with subtype 6")
        with as_encryption_errors(), one_deadline(self._executor), self._library.used() as library:
            document = bson.encode({"v": value})
            context = library.explicit_decryption_context(document)
            found = yield from self._run(context)
            return bson.decode(found, codec_options=self._codec_options)["v"]

    def _steps_of_create_encrypted_collection(
        self,
        database: Any,
        name: str,
        encrypted_fields: Any,
        kms_provider: str | None,
        master_key: Any,
        further: dict[str, Any],
    ) -> JobSteps[tuple[Any, dict[str, Any]]]:
        self._check_closed()
        _check_class(database, self._database_name)
        fields = deepcopy(encrypted_fields)
        for field in fields["fields"]:
            if isinstance(field, dict) and field.get("keyId") is None:
                try:
                    field["keyId"] = yield from self._steps_of_create_data_key(
                        kms_provider,  # type: ignore[arg-type]  # None is refused with the others
                        master_key,
                        None,
                        None,
                    )
                except EncryptionError as error:
                    raise EncryptedCollectionError(error, fields) from error
        options = {**further, "encryptedFields": fields, "check_exists": False}
        try:
            collection = yield database.create_collection(name=name, **options)
        except Exception as error:
            raise EncryptedCollectionError(error, fields) from error
        return collection, fields

    def _encoded(self, document: Any) -> bytes:
        return bson.encode(document, codec_options=self._codec_options)


def _string_options(options_class: Any, encoded: bytes) -> dict[str, bytes]:
    """The argument of the string algorithm's options: pymongocrypt renamed it in 1.19."""
    names = options_class.__init__.__code__.co_varnames
    return {"string_opts" if "string_opts" in names else "text_opts": encoded}


def without_alt_name(name: str) -> list[dict[str, Any]]:
    """The update that takes an alternate name from a data key; with the last, the field goes."""
    rest = {"$filter": {"input": "$keyAltNames", "cond": {"$ne": ["$$this", name]}}}
    is_last = {"$eq": ["$keyAltNames", [name]]}
    return [{"$set": {"keyAltNames": {"$cond": [is_last, "$$REMOVE", rest]}}}]


def _check_class(found: object, name: str) -> None:
    """Raise `TypeError` where it is of the other face, or something else; classes that wrap ours
    are known by the name of a base."""
    if not any(each.__name__ == name for each in type(found).__mro__):
        raise TypeError(f"{name} required but given {type(found).__name__}")


class BlockingEncryptionBase(EncryptionCore):
    """Base of `ClientEncryption`."""

    _client_name = "MongoClient"
    _database_name = "Database"

    def _carry_out(self, steps: JobSteps[_Result]) -> _Result:
        """Carry out steps; what they return."""
        return run_steps(steps)


__all__ = [
    "BlockingEncryptionBase",
    "EncryptionCore",
    "key_vault",
    "without_alt_name",
]
