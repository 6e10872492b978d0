"""Explicit encryption and data keys in a key vault on a real server, on both faces."""

from __future__ import annotations

import gc
import uuid
import weakref
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

import mongokey
from mongokey import MongoClient
from mongokey.bson import Binary, Decimal128, Int64, ObjectId
from mongokey.bson.codec_options import CodecOptions, TypeDecoder, TypeRegistry
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.encryption_shared import Algorithm, QueryType
from mongokey.errors import (
    ConfigurationError,
    DuplicateKeyError,
    EncryptedCollectionError,
    EncryptionError,
    InvalidDocument,
    InvalidOperation,
    ServerSelectionTimeoutError,
)
from tests.live._encryption import (
    DETERMINISTIC,
    LOCAL,
    LOCAL_KEY,
    RANDOM,
    client_encryption,
)
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


@pytest.fixture
def vault(database: Any) -> Any:
    found = database["keys"]
    found.create_index(
        "keyAltNames", unique=True, partialFilterExpression={"keyAltNames": {"$exists": True}}
    )
    return found


@pytest.fixture
def crypt(client: Any, database_name: str) -> Iterator[Any]:
    with client_encryption(client, f"{database_name}.keys") as made:
        yield made


class TestDataKeys:
    def test_a_key_is_made_and_put_into_the_vault(self, crypt: Any, vault: Any) -> None:
        key_id = crypt.create_data_key("local")
        assert type(key_id) is Binary
        assert key_id.subtype == 4
        (found,) = vault.find()
        assert found["_id"] == key_id
        assert found["masterKey"] == {"provider": "local"}
        assert found["status"] == 0
        assert found["keyMaterial"] not in (LOCAL_KEY, LOCAL_KEY[:32])

    def test_a_key_is_got_by_id_and_by_name(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local", key_alt_names=["here", "there"])
        assert isinstance(crypt.get_key(key_id), RawBSONDocument)
        assert crypt.get_key(key_id)["_id"] == key_id
        assert crypt.get_key_by_alt_name("there")["_id"] == key_id
        assert crypt.get_key_by_alt_name("elsewhere") is None
        assert crypt.get_key(Binary(bytes(16), 4)) is None

    def test_all_keys_are_listed(self, crypt: Any) -> None:
        made = {bytes(crypt.create_data_key("local")) for _ in range(3)}
        assert {bytes(each["_id"]) for each in crypt.get_keys()} == made

    def test_names_are_added_and_taken(self, crypt: Any, vault: Any) -> None:
        key_id = crypt.create_data_key("local", key_alt_names=["first"])
        before = crypt.add_key_alt_name(key_id, "second")
        assert before["keyAltNames"] == ["first"]
        assert crypt.get_key(key_id)["keyAltNames"] == ["first", "second"]
        before = crypt.remove_key_alt_name(key_id, "first")
        assert before["keyAltNames"] == ["first", "second"]
        crypt.remove_key_alt_name(key_id, "second")
        assert "keyAltNames" not in vault.find_one({"_id": key_id})
        assert crypt.remove_key_alt_name(Binary(bytes(16), 4), "any") is None

    def test_a_name_is_unique(self, crypt: Any, vault: Any) -> None:
        crypt.create_data_key("local", key_alt_names=["one"])
        with pytest.raises(EncryptionError) as raised:
            crypt.create_data_key("local", key_alt_names=["one"])
        assert isinstance(raised.value.cause, DuplicateKeyError)

    def test_a_key_is_deleted(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local")
        assert crypt.delete_key(key_id).deleted_count == 1
        assert crypt.get_key(key_id) is None
        assert crypt.delete_key(key_id).deleted_count == 0

    def test_material_of_ones_own_encrypts_the_same(self, crypt: Any) -> None:
        # Prose test 15, "Custom Key Material".
        first = crypt.create_data_key("local", key_material=LOCAL_KEY)
        second = crypt.create_data_key("local", key_material=LOCAL_KEY)
        one, other = (crypt.encrypt("test", DETERMINISTIC, key_id=each) for each in (first, second))
        # Behind the first byte and the key's id, both are the same but for what covers the id.
        assert one[17] == other[17] == 2
        assert crypt.decrypt(one) == crypt.decrypt(other) == "test"

    @pytest.mark.parametrize("material", [b"short", b"x" * 97, "text"])
    def test_wrong_material_is_refused(self, crypt: Any, material: Any) -> None:
        with pytest.raises(EncryptionError):
            crypt.create_data_key("local", key_material=material)

    @pytest.mark.parametrize("provider", ["aws", "nobody", None, "local:unknown"])
    def test_an_unknown_provider_is_refused(self, crypt: Any, provider: Any) -> None:
        with pytest.raises(EncryptionError, match=r"unknown|provider"):
            crypt.create_data_key(provider)

    def test_named_providers_have_keys_of_their_own(self, client: Any, database_name: str) -> None:
        # Prose test 26 tells them apart by what they decrypt.
        two = {"local:one": {"key": LOCAL_KEY}, "local:two": {"key": LOCAL_KEY[::-1]}}
        with client_encryption(client, f"{database_name}.keys", two) as crypt:
            key_id = crypt.create_data_key("local:two")
            assert crypt.get_key(key_id)["masterKey"]["provider"] == "local:two"
            value = crypt.encrypt(1, DETERMINISTIC, key_id=key_id)
            assert crypt.decrypt(value) == 1
        wrong = {"local:two": {"key": LOCAL_KEY}}
        with client_encryption(client, f"{database_name}.keys", wrong) as crypt:
            with pytest.raises(EncryptionError, match="HMAC"):
                crypt.decrypt(value)


class TestRewrapping:
    def test_keys_are_encrypted_by_another_master_key(
        self, client: Any, database_name: str, crypt: Any, vault: Any
    ) -> None:
        # Prose test 16, "Rewrap".
        key_id = crypt.create_data_key("local", key_alt_names=["mine"])
        value = crypt.encrypt("test", DETERMINISTIC, key_id=key_id)
        before = vault.find_one({"_id": key_id})
        two = {**LOCAL, "local:new": {"key": LOCAL_KEY[::-1]}}
        with client_encryption(client, f"{database_name}.keys", two) as other:
            done = other.rewrap_many_data_key({"keyAltNames": "mine"}, "local:new")
            assert done.bulk_write_result.modified_count == 1
            assert other.decrypt(value) == "test"
        after = vault.find_one({"_id": key_id})
        assert after["masterKey"] == {"provider": "local:new"}
        assert after["keyMaterial"] != before["keyMaterial"]
        assert after["updateDate"] >= before["updateDate"]
        only = {"local:new": {"key": LOCAL_KEY[::-1]}}
        with client_encryption(client, f"{database_name}.keys", only) as new:
            assert new.decrypt(value) == "test"

    def test_no_key_is_none_rewrapped(self, crypt: Any) -> None:
        done = crypt.rewrap_many_data_key({"keyAltNames": "nobody"}, "local")
        assert done.bulk_write_result is None

    def test_all_keys_by_the_same_provider(self, crypt: Any, vault: Any) -> None:
        key_id = crypt.create_data_key("local")
        crypt.create_data_key("local")
        before = vault.find_one({"_id": key_id})
        assert crypt.rewrap_many_data_key({}).bulk_write_result.modified_count == 2
        assert vault.find_one({"_id": key_id})["keyMaterial"] != before["keyMaterial"]

    def test_a_master_key_needs_its_provider(self, crypt: Any) -> None:
        with pytest.raises(ConfigurationError, match="provider"):
            crypt.rewrap_many_data_key({}, master_key={})


VALUES = [
    1,
    "text",
    Int64(5),
    b"bytes",
    ObjectId(),
    datetime(2026, 12, 1),
    Binary(b"x", 3),
]
#: Of these, deterministic encryption would tell the value.
ONLY_RANDOM = [1.5, Decimal128("2.5"), {"a": 1}, [1, 2], True]


class TestValues:
    @pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
    @pytest.mark.parametrize("algorithm", [DETERMINISTIC, RANDOM])
    def test_a_value_is_encrypted_and_decrypted(
        self, crypt: Any, algorithm: str, value: Any
    ) -> None:
        key_id = crypt.create_data_key("local")
        sealed = crypt.encrypt(value, algorithm, key_id=key_id)
        assert type(sealed) is Binary
        assert sealed.subtype == 6
        assert crypt.decrypt(sealed) == value
        again = crypt.encrypt(value, algorithm, key_id=key_id)
        assert (again == sealed) is (algorithm == DETERMINISTIC)

    @pytest.mark.parametrize("value", ONLY_RANDOM, ids=lambda value: type(value).__name__)
    def test_what_only_random_encryption_takes(self, crypt: Any, value: Any) -> None:
        key_id = crypt.create_data_key("local")
        sealed = crypt.encrypt(value, RANDOM, key_id=key_id)
        assert crypt.decrypt(sealed) == value
        with pytest.raises(EncryptionError):
            crypt.encrypt(value, DETERMINISTIC, key_id=key_id)

    def test_the_server_keeps_it_as_it_is(self, crypt: Any, collection: Any) -> None:
        key_id = crypt.create_data_key("local")
        sealed = crypt.encrypt("457-55-5462", Algorithm(DETERMINISTIC), key_id=key_id)
        collection.insert_one({"_id": 1, "ssn": sealed})
        found = collection.find_one({"ssn": sealed})
        assert found == {"_id": 1, "ssn": sealed}
        assert found["ssn"].subtype == 6
        assert crypt.decrypt(found["ssn"]) == "457-55-5462"

    def test_a_key_is_named_by_uuid_or_name(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local", key_alt_names=["mine"])
        by_uuid = crypt.encrypt(1, DETERMINISTIC, key_id=uuid.UUID(bytes=bytes(key_id)))
        by_name = crypt.encrypt(1, DETERMINISTIC, key_alt_name="mine")
        assert by_uuid == by_name == crypt.encrypt(1, DETERMINISTIC, key_id=key_id)

    def test_neither_or_both_names_are_refused(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local", key_alt_names=["mine"])
        with pytest.raises(EncryptionError):
            crypt.encrypt(1, DETERMINISTIC)
        with pytest.raises(EncryptionError):
            crypt.encrypt(1, DETERMINISTIC, key_id=key_id, key_alt_name="mine")

    def test_a_key_that_is_gone_is_told(self, crypt: Any) -> None:
        with pytest.raises(EncryptionError, match="not all keys requested were satisfied"):
            crypt.encrypt(1, DETERMINISTIC, key_id=Binary(bytes(16), 4))
        with pytest.raises(EncryptionError):
            crypt.encrypt(1, DETERMINISTIC, key_alt_name="nobody")

    @pytest.mark.parametrize("key_id", ["text", b"x" * 16, Binary(b"x" * 16, 3), 5])
    def test_a_key_id_is_a_uuid(self, crypt: Any, key_id: Any) -> None:
        with pytest.raises(TypeError, match=r"key_id must be a bson.*subtype 4"):
            crypt.encrypt(1, DETERMINISTIC, key_id=key_id)

    @pytest.mark.parametrize("value", [b"text", "text", Binary(b"x", 0), 1, None])
    def test_only_what_is_encrypted_is_decrypted(self, crypt: Any, value: Any) -> None:
        with pytest.raises(TypeError, match="subtype 6"):
            crypt.decrypt(value)

    def test_what_was_changed_is_not_decrypted(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local")
        sealed = crypt.encrypt("text", RANDOM, key_id=key_id)
        broken = bytearray(sealed)
        broken[-1] ^= 1
        with pytest.raises(EncryptionError, match="HMAC"):
            crypt.decrypt(Binary(bytes(broken), 6))
        with pytest.raises(EncryptionError):
            crypt.decrypt(Binary(b"\x01", 6))

    def test_a_value_that_is_none_of_bson_is_told_as_such(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local")
        with pytest.raises(InvalidDocument):
            crypt.encrypt(object(), RANDOM, key_id=key_id)

    def test_an_unknown_algorithm_is_refused(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local")
        with pytest.raises(EncryptionError):
            crypt.encrypt(1, "ROT13", key_id=key_id)

    def test_codec_options_hold_for_values(self, client: Any, database_name: str) -> None:
        class Upper(TypeDecoder):
            bson_type = str

            def transform_bson(self, value: str) -> str:
                return value.upper()

        options: CodecOptions[Any] = CodecOptions(
            tz_aware=True, type_registry=TypeRegistry([Upper()])
        )
        with client_encryption(client, f"{database_name}.keys", options=options) as crypt:
            key_id = crypt.create_data_key("local")
            sealed = crypt.encrypt(["x", datetime(2026, 1, 1)], RANDOM, key_id=key_id)
            assert crypt.decrypt(sealed) == ["X", datetime(2026, 1, 1, tzinfo=timezone.utc)]


class TestQueryableEncryption:
    def test_indexed_values_are_encrypted(self, crypt: Any) -> None:
        # What is found by them, only a server with Queryable Encryption can tell.
        key_id = crypt.create_data_key("local")
        stored = crypt.encrypt("text", Algorithm.INDEXED, key_id=key_id, contention_factor=0)
        asked = crypt.encrypt(
            "text",
            Algorithm.INDEXED,
            key_id=key_id,
            query_type=QueryType.EQUALITY,
            contention_factor=0,
        )
        assert stored.subtype == asked.subtype == 6
        assert stored[0] != asked[0]
        assert crypt.decrypt(stored) == "text"
        with pytest.raises(EncryptionError, match="contention factor"):
            crypt.encrypt("text", Algorithm.INDEXED, key_id=key_id)

    def test_unindexed_values_are_decrypted(self, crypt: Any) -> None:
        key_id = crypt.create_data_key("local")
        sealed = crypt.encrypt("text", Algorithm.UNINDEXED, key_id=key_id)
        assert crypt.decrypt(sealed) == "text"

    def test_ranges_are_encrypted_in_an_expression(self, crypt: Any) -> None:
        from mongokey.encryption_options import RangeOpts

        key_id = crypt.create_data_key("local")
        ranges = RangeOpts(sparsity=1, trim_factor=1, min=0, max=200)
        stored = crypt.encrypt(
            6, Algorithm.RANGE, key_id=key_id, contention_factor=0, range_opts=ranges
        )
        assert crypt.decrypt(stored) == 6
        asked = crypt.encrypt_expression(
            {"$and": [{"age": {"$gte": 6}}, {"age": {"$lte": 200}}]},
            Algorithm.RANGE,
            key_id=key_id,
            query_type=QueryType.RANGE,
            contention_factor=0,
            range_opts=ranges,
        )
        assert asked["$and"][0]["age"]["$gte"].subtype == 6
        with pytest.raises(EncryptionError):
            crypt.encrypt(
                201, Algorithm.RANGE, key_id=key_id, contention_factor=0, range_opts=ranges
            )

    def test_strings_are_encrypted_for_their_beginnings(self, crypt: Any) -> None:
        from mongokey.encryption_options import PrefixOpts, StringOpts

        key_id = crypt.create_data_key("local")
        options = StringOpts(
            prefix=PrefixOpts(strMaxQueryLength=10, strMinQueryLength=2),
            case_sensitive=True,
            diacritic_sensitive=True,
        )
        stored = crypt.encrypt(
            "foobar", Algorithm.STRING, key_id=key_id, contention_factor=0, string_opts=options
        )
        assert crypt.decrypt(stored) == "foobar"

    def test_a_collection_is_created_with_keys_of_its_own(
        self, crypt: Any, database: Any, vault: Any
    ) -> None:
        fields = {"fields": [{"path": "ssn", "bsonType": "string", "keyId": None}]}
        try:
            _, made = crypt.create_encrypted_collection(database, "people", fields, "local")
        except EncryptedCollectionError as error:
            # A server without Queryable Encryption: the keys that were made are told.
            made = error.encrypted_fields
        assert fields["fields"][0]["keyId"] is None
        assert made["fields"][0]["keyId"] == vault.find_one()["_id"]

    def test_a_key_that_cannot_be_made_ends_it(self, crypt: Any, database: Any) -> None:
        given = Binary(bytes(16), 4)
        fields = {
            "fields": [
                {"path": "a", "bsonType": "string", "keyId": given},
                {"path": "b", "bsonType": "string", "keyId": None},
            ]
        }
        with pytest.raises(EncryptedCollectionError) as raised:
            crypt.create_encrypted_collection(database, "people", fields, "nobody")
        assert raised.value.encrypted_fields == fields
        assert "people" not in database.list_collection_names()


class TestTheObject:
    def test_it_is_closed_once_and_for_all(self, client: Any, database_name: str) -> None:
        crypt = client_encryption(client, f"{database_name}.keys")
        key_id = crypt.create_data_key("local")
        sealed = crypt.encrypt(1, RANDOM, key_id=key_id)
        crypt.close()
        crypt.close()
        for call in (
            lambda: crypt.create_data_key("local"),
            lambda: crypt.encrypt(1, RANDOM, key_id=key_id),
            lambda: crypt.decrypt(sealed),
            lambda: crypt.get_key(key_id),
            lambda: crypt.get_keys(),
            lambda: crypt.rewrap_many_data_key({}),
        ):
            with pytest.raises(InvalidOperation, match="closed"):
                call()
        assert client.admin.command("ping")["ok"] == 1

    def test_it_is_gone_when_nobody_refers_to_it(self, client: Any, database_name: str) -> None:
        crypt = client_encryption(client, f"{database_name}.keys")
        inner = weakref.ref(getattr(crypt, "_inner", crypt))
        del crypt
        gc.collect()
        assert inner() is None

    def test_keys_are_in_no_text(
        self, client: Any, database_name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        secret = "c2VjcmV0" * 16
        caplog.set_level(0)
        with client_encryption(
            client, f"{database_name}.keys", {"local": {"key": secret}}
        ) as crypt:
            assert secret not in repr(crypt)
            with pytest.raises(EncryptionError) as raised:
                crypt.create_data_key("aws")
            assert secret not in str(raised.value)
        assert secret not in caplog.text

    @pytest.mark.parametrize(
        "providers", [{"local": {"key": b"short"}}, {"unknown": {}}, {"aws": {"accessKeyId": 1}}]
    )
    def test_wrong_providers_are_refused(
        self, client: Any, database_name: str, providers: Any
    ) -> None:
        with pytest.raises((EncryptionError, ValueError)):
            client_encryption(client, f"{database_name}.keys", providers)

    @pytest.mark.parametrize("namespace", ["keys", "", ".keys", "keys.", 5])
    def test_wrong_namespaces_are_refused(self, client: Any, namespace: Any) -> None:
        with pytest.raises((ConfigurationError, TypeError), match="key_vault_namespace"):
            client_encryption(client, namespace)

    def test_wrong_arguments_are_refused(self, client: Any, database_name: str) -> None:
        with pytest.raises(TypeError, match="codec_options"):
            client_encryption(client, f"{database_name}.keys", options=5)
        with pytest.raises(TypeError, match="kms_providers"):
            client_encryption(client, f"{database_name}.keys", 5)
        with pytest.raises(TypeError, match="kms_connect_callback"):
            client_encryption(client, f"{database_name}.keys", kms_connect_callback=5)

    def test_a_client_of_the_other_face_is_refused(self, client: Any, database_name: str) -> None:
        from mongokey.asynchronous.encryption import AsyncClientEncryption
        from mongokey.encryption import ClientEncryption

        is_blocking = isinstance(client, MongoClient) and not hasattr(client, "_inner")
        other = AsyncClientEncryption if is_blocking else ClientEncryption
        inner = getattr(client, "_inner", client)
        with pytest.raises(TypeError, match="MongoClient required"):
            other(LOCAL, f"{database_name}.keys", inner, CodecOptions())

    def test_a_vault_that_is_not_there_is_an_encryption_error_with_its_cause(
        self, face: str, secantus: SecantusServer
    ) -> None:
        with MongoClient("127.0.0.1:1", serverSelectionTimeoutMS=50) as nowhere:
            crypt = client_encryption(nowhere, "a.keys")
            with pytest.raises(EncryptionError) as raised:
                crypt.create_data_key("local")
            assert isinstance(raised.value.cause, ServerSelectionTimeoutError)
            with mongokey.timeout(0.05), pytest.raises(EncryptionError) as raised:
                crypt.encrypt(1, RANDOM, key_alt_name="x")
            assert raised.value.timeout
            crypt.close()
