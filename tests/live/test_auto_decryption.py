"""Clients that decrypt by themselves, on a real server: each way by which documents come back."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from mongokey import InsertOne, MongoClient
from mongokey.bson import Binary, CodecOptions
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.cursor import CursorType
from mongokey.encryption_options import AutoEncryptionOpts
from mongokey.errors import EncryptionError, InvalidOperation, OperationFailure
from mongokey.monitoring import CommandListener
from tests.faces.wrapper import unwrapped
from tests.live._encryption import DETERMINISTIC, LOCAL, LOCAL_KEY, RANDOM, client_encryption
from tests.live._forks import in_child
from tests.servers.secantus import SecantusServer

pytestmark = pytest.mark.live


class Seen(CommandListener):
    """Every command and reply."""

    def __init__(self) -> None:
        self.commands: list[Any] = []
        self.replies: list[Any] = []

    def started(self, event: Any) -> None:
        self.commands.append(event.command)

    def succeeded(self, event: Any) -> None:
        self.replies.append(event.reply)

    def failed(self, event: Any) -> None:
        """Not looked at."""

    def of(self, name: str) -> list[Any]:
        return [each for each in self.commands if name in each]


@pytest.fixture
def crypt(client: Any, database_name: str) -> Iterator[Any]:
    with client_encryption(client, f"{database_name}.keys") as made:
        made.create_data_key("local", key_alt_names=["k"])
        yield made


@pytest.fixture
def sealed(crypt: Any, collection: Any) -> Any:
    """The collection, with a hundred encrypted values, as a client sees it that decrypts none."""
    collection.insert_many(
        [
            {
                "_id": n,
                "secret": crypt.encrypt(f"value {n}", DETERMINISTIC, key_alt_name="k"),
                "nested": {"deep": [crypt.encrypt(n, RANDOM, key_alt_name="k")]},
            }
            for n in range(10)
        ]
    )
    return collection


def options(database_name: str, **further: Any) -> Any:
    given = {"bypass_auto_encryption": True, **further}
    return AutoEncryptionOpts(given.pop("providers", LOCAL), f"{database_name}.keys", **given)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def decrypting(
    face: str, secantus: SecantusServer, database_name: str, seen: Seen
) -> Iterator[Any]:
    """A client that decrypts. With one connection: what it asks on the way needs others."""
    with MongoClient(
        secantus.uri(),
        auto_encryption_opts=options(database_name),
        event_listeners=[seen],
        maxPoolSize=1,
    ) as made:
        yield made


@pytest.fixture
def clear(decrypting: Any, sealed: Any, database_name: str) -> Any:
    return decrypting[database_name][sealed.name]


def expected(n: int) -> dict[str, Any]:
    return {"_id": n, "secret": f"value {n}", "nested": {"deep": [n]}}


class TestWhatIsDecrypted:
    def test_a_document_that_is_found(self, clear: Any, sealed: Any) -> None:
        assert clear.find_one({"_id": 3}) == expected(3)
        assert sealed.find_one({"_id": 3})["secret"].subtype == 6

    def test_all_batches_of_a_cursor(self, clear: Any) -> None:
        found = list(clear.find().sort("_id").batch_size(3))
        assert found == [expected(n) for n in range(10)]

    def test_aggregations(self, clear: Any) -> None:
        stages = [{"$sort": {"_id": 1}}, {"$project": {"secret": 1}}]
        found = list(clear.aggregate(stages, batchSize=4))
        assert [each["secret"] for each in found] == [f"value {n}" for n in range(10)]

    def test_replies_that_are_no_cursor(self, clear: Any, decrypting: Any) -> None:
        assert sorted(clear.distinct("secret"))[0] == "value 0"
        assert clear.find_one_and_update({"_id": 1}, {"$set": {"x": 1}}) == expected(1)
        assert clear.find_one_and_delete({"_id": 2}) == expected(2)
        reply = clear.database.command("find", clear.name, filter={"_id": 5})
        assert reply["cursor"]["firstBatch"] == [expected(5)]

    def test_what_it_is_decoded_as(self, clear: Any) -> None:
        raw = clear.with_options(codec_options=CodecOptions(document_class=RawBSONDocument))
        found = raw.find_one({"_id": 3})
        assert type(found) is RawBSONDocument
        assert found["secret"] == "value 3"

    def test_in_sessions(self, decrypting: Any, clear: Any) -> None:
        with decrypting.start_session() as session:
            assert clear.find_one({"_id": 3}, session=session) == expected(3)
            assert len(list(clear.find(session=session, batch_size=2))) == 10

    def test_writes_go_as_they_are(self, clear: Any, sealed: Any, crypt: Any) -> None:
        value = crypt.encrypt("new", DETERMINISTIC, key_alt_name="k")
        clear.insert_one({"_id": 100, "secret": value})
        clear.bulk_write([InsertOne({"_id": 101, "secret": value}), InsertOne({"_id": 102})])
        assert sealed.find_one({"_id": 101})["secret"] == value
        assert clear.find_one({"secret": value, "_id": 100})["secret"] == "new"

    def test_events_tell_what_was_sent_and_came(self, clear: Any, seen: Seen) -> None:
        clear.find_one({"_id": 3})
        (reply,) = [
            each
            for each in seen.replies
            if each.get("cursor", {}).get("ns", "").endswith(clear.name)
        ]
        assert reply["cursor"]["firstBatch"][0]["secret"].subtype == 6

    def test_keys_are_kept(self, clear: Any, seen: Seen, database_name: str) -> None:
        for _ in range(3):
            clear.find_one({"_id": 3})
        assert len([each for each in seen.of("find") if each["find"] == "keys"]) == 1

    def test_large_replies(self, clear: Any, sealed: Any, crypt: Any) -> None:
        value = crypt.encrypt("x" * 100_000, RANDOM, key_alt_name="k")
        sealed.insert_many([{"big": value} for _ in range(30)])
        found = list(clear.find({"big": {"$exists": True}}))
        assert [each["big"] for each in found] == ["x" * 100_000] * 30


class TestWhatIsNot:
    def test_a_key_that_is_gone(self, clear: Any, client: Any, database_name: str) -> None:
        client[database_name].keys.delete_many({})
        with pytest.raises(EncryptionError, match="not all keys"):
            clear.find_one({"_id": 3})
        assert clear.count_documents({}) == 10

    def test_another_master_key(
        self, face: str, secantus: SecantusServer, database_name: str, sealed: Any
    ) -> None:
        wrong = {"local": {"key": LOCAL_KEY[::-1]}}
        with MongoClient(
            secantus.uri(), auto_encryption_opts=options(database_name, providers=wrong)
        ) as made:
            with pytest.raises(EncryptionError, match="HMAC"):
                made[database_name][sealed.name].find_one()

    def test_the_cursor_of_a_batch_that_cannot_be_decrypted_is_killed(
        self, clear: Any, client: Any, database_name: str, seen: Seen, eventually: Any
    ) -> None:
        client[database_name].keys.delete_many({})
        with pytest.raises(EncryptionError):
            next(clear.find().batch_size(3))
        assert eventually(lambda: bool(seen.of("killCursors")))
        assert seen.of("killCursors")[0]["killCursors"] == clear.name

    def test_a_broken_value(self, clear: Any, sealed: Any) -> None:
        sealed.insert_one({"_id": "broken", "secret": Binary(b"\x01" + bytes(40), 6)})
        with pytest.raises(EncryptionError):
            clear.find_one({"_id": "broken"})
        assert clear.find_one({"_id": 1}) == expected(1)

    def test_errors_of_the_server_are_as_ever(self, clear: Any) -> None:
        with pytest.raises(OperationFailure, match=r"\$nothing"):
            clear.find_one({"a": {"$nothing": 1}})

    def test_what_hands_out_bytes_is_refused(self, clear: Any, decrypting: Any) -> None:
        with pytest.raises(InvalidOperation, match="find_raw_batches"):
            clear.find_raw_batches()
        with pytest.raises(InvalidOperation, match="aggregate_raw_batches"):
            clear.aggregate_raw_batches([])
        with pytest.raises(InvalidOperation, match="bulk_write"):
            decrypting.bulk_write([InsertOne({}, namespace="a.b")])
        if not unwrapped(decrypting).options.load_balanced:
            with pytest.raises(InvalidOperation, match="exhaust"):
                list(clear.find(cursor_type=CursorType.EXHAUST))


class TestTheClient:
    @pytest.mark.parametrize("size", [0, 100])
    def test_pools_of_any_size(
        self, face: str, secantus: SecantusServer, database_name: str, sealed: Any, size: int
    ) -> None:
        opts = options(database_name)
        with MongoClient(secantus.uri(), auto_encryption_opts=opts, maxPoolSize=size) as made:
            assert made[database_name][sealed.name].find_one({"_id": 3}) == expected(3)
            inner = unwrapped(made)
            assert (inner._encrypter._internal is None) is (size == 0)

    def test_it_is_closed_with_what_it_has(self, decrypting: Any, clear: Any) -> None:
        assert clear.find_one({"_id": 3}) == expected(3)
        encrypter = unwrapped(decrypting)._encrypter
        internal = encrypter._internal
        decrypting.close()
        assert encrypter._internal is None
        assert internal is None or internal._closed
        with pytest.raises(InvalidOperation):
            clear.find_one()

    def test_it_is_garbage_when_nobody_refers_to_it(
        self, secantus: SecantusServer, database_name: str, sealed: Any
    ) -> None:
        made = MongoClient(secantus.uri(), auto_encryption_opts=options(database_name))
        assert made[database_name][sealed.name].find_one({"_id": 3}) == expected(3)
        inner = unwrapped(made)
        gone = [weakref.ref(inner._executor), weakref.ref(inner._encrypter._internal._executor)]
        made.close()
        del made, inner
        gc.collect()
        assert [each() for each in gone] == [None, None]

    def test_a_vault_of_another_client(
        self, face: str, secantus: SecantusServer, client: Any, database_name: str, sealed: Any
    ) -> None:
        opts = options(database_name, key_vault_client=unwrapped(client))
        if face == "asyncio":
            pytest.skip("the wrapped clients have loops of their own")
        with MongoClient(secantus.uri(), auto_encryption_opts=opts) as made:
            assert made[database_name][sealed.name].find_one({"_id": 3}) == expected(3)
            assert made._encrypter._internal is None

    def test_its_options_tell_no_secret(self, decrypting: Any, database_name: str) -> None:
        shown = repr(decrypting.options) + repr(decrypting)
        assert repr(LOCAL_KEY)[2:20] not in shown
        assert f"AutoEncryptionOpts(key_vault_namespace='{database_name}.keys')" in shown

    def test_threads_decrypt_beside_each_other(self, clear: Any) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(6) as threads:
            found = list(threads.map(lambda n: clear.find_one({"_id": n % 10}), range(60)))
        assert found == [expected(n % 10) for n in range(60)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_forked_child_decrypts_by_itself(
    secantus: SecantusServer, database_name: str, sealed: Any, face: str
) -> None:
    if face != "blocking":
        pytest.skip("a forked child's loop is its own")
    with MongoClient(secantus.uri("both"), auto_encryption_opts=options(database_name)) as client:
        decrypted = client[database_name][sealed.name]
        assert decrypted.find_one({"_id": 3})["secret"] == "value 3"
        library = client._encrypter._library
        parents = library._opened

        def child() -> None:
            assert decrypted.find_one({"_id": 4})["secret"] == "value 4"
            assert library._opened is not parents

        in_child(child)
        assert decrypted.find_one({"_id": 5})["secret"] == "value 5"
        assert library._opened is parents
