# Made from aio/encryption.py by tools/blocking_face.py: change that, then run ./dev format.
"""Explicit client-side field level encryption, under PyMongo's names.

It knows PyMongo's methods and their arguments. What they take stands in
`mongokey.faces.encryption_base`; importing this module loads nothing of `pymongocrypt`.
"""

from __future__ import annotations

from mongokey.encryption_shared import Algorithm, QueryType, RewrapManyDataKeyResult
from mongokey.faces.encryption_base import BlockingEncryptionBase, without_alt_name

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, TypeVar
    from uuid import UUID

    from mongokey.bson.binary import Binary
    from mongokey.bson.raw_bson import RawBSONDocument
    from mongokey.collection import Collection
    from mongokey.cursor import Cursor
    from mongokey.database import Database
    from mongokey.encryption_options import RangeOpts, StringOpts
    from mongokey.results import DeleteResult

    _Self = TypeVar("_Self", bound="ClientEncryption")

__all__ = ["Algorithm", "ClientEncryption", "QueryType", "RewrapManyDataKeyResult"]


class ClientEncryption(BlockingEncryptionBase):
    """Explicit encryption, and the data keys in a key vault.

    :param kms_providers: what is known of each key management system, as in `AutoEncryptionOpts`
    :param key_vault_namespace: ``"database.collection"`` of the data keys
    :param key_vault_client: the `MongoClient` of the deployment that has them; it stays open
        when this object is closed
    :param codec_options: how values are encoded before they are encrypted, and decoded
    :param kms_tls_options: provider -> options of TLS with its servers
    :param key_expiration_ms: how long data keys are kept, in milliseconds; None: 60,000; 0: for
        ever
    :param kms_connect_callback: what connects to key management systems, as in
        `AutoEncryptionOpts`

    A call has one deadline, where the client has a `timeoutMS`, or in a block of
    `mongokey.timeout`. What fails is an `EncryptionError`, whose `cause` says why. Raises
    `ConfigurationError` without ``pip install mongokey[encryption]``; `TypeError`.
    """

    if TYPE_CHECKING:

        def _vault(self) -> Collection[RawBSONDocument]: ...

    def create_encrypted_collection(
        self,
        database: Database[Any],
        name: str,
        encrypted_fields: Mapping[str, Any],
        kms_provider: str | None = None,
        master_key: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> tuple[Collection[Any], Mapping[str, Any]]:
        """Create a collection of Queryable Encryption, with a data key for each field whose
        ``keyId`` is None; returns it and its encrypted fields.

        Keyword arguments are those of `Database.create_collection`. Raises
        `EncryptedCollectionError`, whose `encrypted_fields` have the keys made until then.
        """
        return self._carry_out(
            self._steps_of_create_encrypted_collection(
                database, name, encrypted_fields, kms_provider, master_key, kwargs
            )
        )

    def create_data_key(
        self,
        kms_provider: str,
        master_key: Mapping[str, Any] | None = None,
        key_alt_names: Sequence[str] | None = None,
        key_material: bytes | None = None,
    ) -> Binary:
        """Make a data key and put it into the key vault; returns its ``_id``, a `Binary`.

        :param kms_provider: which key management system encrypts it: ``"local"``, ``"aws:name"``…
        :param master_key: which of its keys: for aws region, key and endpoint; for azure
            keyVaultEndpoint, keyName and keyVersion; for gcp projectId, location, keyRing, keyName,
            keyVersion and endpoint; for kmip keyId, endpoint and delegated; None for local
        :param key_alt_names: names that the key can be referred to by
        :param key_material: 96 bytes that are the key; None: random ones
        """
        return self._carry_out(
            self._steps_of_create_data_key(kms_provider, master_key, key_alt_names, key_material)
        )

    def encrypt(
        self,
        value: Any,
        algorithm: str,
        key_id: Binary | UUID | None = None,
        key_alt_name: str | None = None,
        query_type: str | None = None,
        contention_factor: int | None = None,
        range_opts: RangeOpts | None = None,
        string_opts: StringOpts | None = None,
    ) -> Binary:
        """`value` encrypted, a `Binary` of subtype 6.

        :param algorithm: one of `Algorithm`
        :param key_id: the ``_id`` of the data key; or else `key_alt_name`, one of its names
        :param query_type: one of `QueryType`, for a value that is looked for
        :param contention_factor: of `Algorithm.INDEXED` and the ranges, a whole number
        :param range_opts: of `Algorithm.RANGE`
        :param string_opts: of `Algorithm.STRING`
        """
        sealed: Binary = self._carry_out(
            self._steps_of_encrypt(
                value,
                algorithm,
                key_id,
                key_alt_name,
                query_type,
                contention_factor,
                range_opts,
                string_opts,
                False,
            )
        )
        return sealed

    def encrypt_expression(
        self,
        expression: Mapping[str, Any],
        algorithm: str,
        key_id: Binary | UUID | None = None,
        key_alt_name: str | None = None,
        query_type: str | None = None,
        contention_factor: int | None = None,
        range_opts: RangeOpts | None = None,
    ) -> RawBSONDocument:
        """The values of a match or aggregate `expression` encrypted, for a range query.

        The other arguments are those of `encrypt`.
        """
        found: RawBSONDocument = self._carry_out(
            self._steps_of_encrypt(
                expression,
                algorithm,
                key_id,
                key_alt_name,
                query_type,
                contention_factor,
                range_opts,
                None,
                True,
            )
        )
        return found

    def decrypt(self, value: Binary) -> Any:
        """The value that `value`, a `Binary` of subtype 6, encrypts."""
        return self._carry_out(self._steps_of_decrypt(value))

    def get_key(self, id: Binary) -> RawBSONDocument | None:
        """The data key with that ``_id``, or None."""
        return self._vault().find_one({"_id": id})

    def get_keys(self) -> Cursor[RawBSONDocument]:
        """A cursor over all data keys."""
        return self._vault().find({})

    def delete_key(self, id: Binary) -> DeleteResult:
        """Delete the data key with that ``_id``: what it encrypts is lost."""
        return self._vault().delete_one({"_id": id})

    def add_key_alt_name(self, id: Binary, key_alt_name: str) -> Any:
        """Give the data key with that ``_id`` one more name; returns it as it was, or None."""
        return self._vault().find_one_and_update(
            {"_id": id}, {"$addToSet": {"keyAltNames": key_alt_name}}
        )

    def get_key_by_alt_name(self, key_alt_name: str) -> RawBSONDocument | None:
        """The data key of that name, or None."""
        return self._vault().find_one({"keyAltNames": key_alt_name})

    def remove_key_alt_name(self, id: Binary, key_alt_name: str) -> RawBSONDocument | None:
        """Take a name from the data key with that ``_id``; returns it as it was, or None."""
        return self._vault().find_one_and_update({"_id": id}, without_alt_name(key_alt_name))

    def rewrap_many_data_key(
        self,
        filter: Mapping[str, Any],
        provider: str | None = None,
        master_key: Mapping[str, Any] | None = None,
    ) -> RewrapManyDataKeyResult:
        """Encrypt the data keys that `filter` matches anew: with the same key management systems,
        or with `provider` and its `master_key`. What they encrypt stays as it is."""
        return RewrapManyDataKeyResult(
            self._carry_out(self._steps_of_rewrap(filter, provider, master_key))
        )

    def close(self) -> None:
        """Let the data keys go. The object cannot be used again."""
        self._end()

    def __enter__(self: _Self) -> _Self:
        return self

    def __exit__(self, exc_type: Any, exc_val: Any, exc_tb: Any) -> None:
        self.close()
