"""The modules that are here as PyMongo's import paths: what is in them does what PyMongo's does."""

from __future__ import annotations

import asyncio
import datetime
import importlib
from collections import OrderedDict
from importlib.metadata import PackageNotFoundError
from typing import Any

import pymongo
import pymongo.collation
import pymongo.common
import pymongo.errors
import pymongo.hello
import pymongo.helpers_shared
import pymongo.saslprep
import pytest

import mongokey
from mongokey import collation, common, encryption, errors, hello, helpers_shared, saslprep
from mongokey.bson.codec_options import CodecOptions, TypeRegistry
from mongokey.bson.raw_bson import RawBSONDocument
from mongokey.bson.son import SON
from mongokey.collection import Collection
from mongokey.driver_info import DriverInfo
from mongokey.options.connection_string import DNSAnswer
from mongokey.read_preferences import Nearest
from mongokey.server_api import ServerApi

NAMES = (
    "validate_appname_or_none",
    "validate_boolean",
    "validate_boolean_or_string",
    "validate_datetime_conversion",
    "validate_document_class",
    "validate_driver_or_none",
    "validate_integer",
    "validate_is_callable_or_none",
    "validate_is_document_type",
    "validate_is_mapping",
    "validate_list",
    "validate_list_or_mapping",
    "validate_list_or_none",
    "validate_non_negative_int_or_basestring",
    "validate_non_negative_integer",
    "validate_non_negative_integer_or_none",
    "validate_positive_float",
    "validate_positive_float_or_zero",
    "validate_positive_integer",
    "validate_read_preference",
    "validate_read_preference_mode",
    "validate_server_api_or_none",
    "validate_string",
    "validate_string_or_none",
    "validate_timeout_or_none",
    "validate_timeout_or_none_or_zero",
    "validate_timeout_or_zero",
    "validate_timeoutms",
    "validate_type_registry",
    "validate_tzinfo",
    "validate_unicode_decode_error_handler",
    "validate_uuid_representation",
)
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2.5, 10**10, "", "0", "7", "-7", "true", "false", "word"),
    *("é" * 64, "é" * 65, b"bytes", [], [1], (), {}, {"a": 1}, OrderedDict(a=1), len, object),
    *(dict, dict[str, int], OrderedDict, list, datetime.timezone.utc, "nearest", "strict"),
    *("pythonLegacy", "DATETIME", "1"),
]


def outcome(function: Any, *args: Any) -> tuple[str, Any]:
    """What a check returns, or the class of what it raises."""
    try:
        return "returns", function(*args)
    except Exception as error:
        return "raises", type(error).__name__


@pytest.mark.parametrize("name", NAMES)
def test_checks_decide_as_pymongos(name: str) -> None:
    ours, theirs = getattr(common, name), getattr(pymongo.common, name)
    seen = set()
    for value in VALUES:
        mine, his = outcome(ours, "option", value), outcome(theirs, "option", value)
        if mine[0] == "returns" and hasattr(his[1], "name"):
            mine, his = ("returns", int(mine[1])), ("returns", int(his[1]))
        if isinstance(value, list | dict) and mine[0] == his[0] == "raises":
            continue  # PyMongo looks some of them up in a set, which they cannot be in
        assert mine == his, value
        seen.add(mine[0])
    # Every check refuses something; what it takes is of our own types for some.
    assert "raises" in seen


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("validate_read_preference", Nearest()),
        ("validate_type_registry", TypeRegistry()),
        ("validate_driver_or_none", DriverInfo("a")),
        ("validate_server_api_or_none", ServerApi("1")),
        ("validate_document_class", RawBSONDocument),
        ("validate_document_class", SON),
    ],
)
def test_checks_take_our_own_types(name: str, value: Any) -> None:
    assert getattr(common, name)("option", value) is value


@pytest.mark.parametrize(
    "value", [None, {}, [], {"a": 1}, {"$set": {"a": 1}}, [{"$set": {}}], 5, {"$a": 1, "b": 1}]
)
def test_updates_and_replacements_are_told_apart_as_pymongo_does(value: Any) -> None:
    for name in ("validate_ok_for_update", "validate_ok_for_replace"):
        mine = outcome(getattr(common, name), value)
        assert mine == outcome(getattr(pymongo.common, name), value), name


def test_checks_name_the_option_and_what_it_may_be() -> None:
    with pytest.raises(TypeError, match=r"^maxPoolSize must be an integer, not list$"):
        common.validate_integer("maxPoolSize", [])
    with pytest.raises(ValueError, match=r"^n must be a positive integer$"):
        common.validate_positive_integer("n", 0)
    assert common.validate_is_mapping("a", {}) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("node", ["h", "H:1", "[::1]", "[::1]:2", "a.b:3"])
def test_nodes_are_split_as_pymongo_does(node: str) -> None:
    if node != "[::1]":  # which PyMongo cannot read
        assert common.partition_node(node) == pymongo.common.partition_node(node)
        assert common.clean_node(node) == pymongo.common.clean_node(node)


def test_uuid_representations_are_pymongos() -> None:
    assert common._UUID_REPRESENTATIONS == pymongo.common._UUID_REPRESENTATIONS


def test_the_common_base_is_that_of_clients_databases_and_collections() -> None:
    client: Any = mongokey.MongoClient("mongodb://127.0.0.1:1/")
    for each in (client, client.d, client.d.c, mongokey.AsyncMongoClient().d):
        assert isinstance(each, common.BaseObject)


# collation


COLLATIONS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("en",), {}),
    (("fr_CA",), {"strength": 2, "backwards": True}),
    (("en", False, "upper", 1, True, "shifted", "space", True, False), {"version": "57.1"}),
    ((5,), {}),
    ((None,), {}),
    (("en",), {"strength": "1"}),
    (("en",), {"caseLevel": 1}),
    (("en",), {"caseFirst": 1}),
]


@pytest.mark.parametrize(("args", "kwargs"), COLLATIONS)
def test_collations_are_pymongos(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    mine = outcome(lambda: collation.Collation(*args, **kwargs).document)
    assert mine == outcome(lambda: pymongo.collation.Collation(*args, **kwargs).document)
    if mine[0] == "returns":
        made = collation.Collation(*args, **kwargs)
        assert repr(made) == repr(pymongo.collation.Collation(*args, **kwargs))
        assert made == collation.Collation(*args, **kwargs)
        assert made != collation.Collation("de")
        assert made != made.document
        made.document["locale"] = "xx"
        assert made.document["locale"] == args[0]
        with pytest.raises(TypeError, match="unhashable"):
            hash(made)
        assert collation.validate_collation_or_none(made) == made.document


def test_wrong_collations_name_the_field() -> None:
    with pytest.raises(ValueError, match="strength of a collation must be a number, not 'x'"):
        collation.Collation("en", strength="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="strength of a collation must be an integer, not bool"):
        collation.Collation("en", strength=True)
    with pytest.raises(TypeError, match="must be a dict, a Collation or None, not int"):
        collation.validate_collation_or_none(5)  # type: ignore[arg-type]
    assert collation.validate_collation_or_none(None) is None
    assert collation.validate_collation_or_none({"locale": "en"}) == {"locale": "en"}


# hello

HELLOS: list[dict[str, Any]] = [
    {
        "ok": 1.0,
        "maxWireVersion": 21,
        "minWireVersion": 0,
        "helloOk": True,
        "isWritablePrimary": True,
    },
    {"ok": 1.0, "msg": "isdbgrid", "maxWireVersion": 17},
    {
        "ok": 1.0,
        "setName": "rs",
        "secondary": True,
        "hosts": ["A:1", "b:2"],
        "passives": ["c:3"],
        "arbiters": ["d:4"],
        "primary": "b:2",
        "me": "A:1",
        "tags": {"dc": "east"},
        "setVersion": 3,
        "logicalSessionTimeoutMinutes": 30,
        "maxBsonObjectSize": 1000,
        "maxMessageSizeBytes": 2000,
        "maxWriteBatchSize": 30,
        "saslSupportedMechs": ["SCRAM-SHA-1"],
        "compression": ["zlib"],
        "connectionId": 7,
        "lastWrite": {"lastWriteDate": datetime.datetime(2020, 1, 1)},
    },
    {"ok": 1.0, "setName": "rs", "ismaster": True},
    {"ok": 1.0, "setName": "rs", "arbiterOnly": True},
    {"ok": 1.0, "setName": "rs", "hidden": True},
    {"ok": 1.0, "isreplicaset": True},
    {"ok": 0.0, "errmsg": "no"},
]


@pytest.mark.parametrize("document", HELLOS)
def test_hellos_are_read_as_pymongo_does(document: dict[str, Any]) -> None:
    mine, his = hello.Hello(document, True), pymongo.hello.Hello(document, True)
    for name in dir(his):
        if not name.startswith("_"):
            assert getattr(mine, name) == getattr(his, name), name
    assert hello.Hello[dict].__origin__ is hello.Hello


# helpers_shared, saslprep, database_shared, typings


@pytest.mark.parametrize(
    "keys", ["a", ["a", ("b", -1)], {"a": 1, "b": "2d"}, [("a", 1)], [], 5, [("a", object())]]
)
def test_keys_are_read_as_pymongo_does(keys: Any) -> None:
    mine = outcome(helpers_shared._index_list, keys)
    his = outcome(pymongo.helpers_shared._index_list, keys)
    assert mine[0] == his[0]
    assert mine[0] == "raises" or list(mine[1]) == list(his[1])
    for fields in (["a", "b"], {"a": 0}, 5):
        mine = outcome(helpers_shared._fields_list_to_dict, fields, "projection")
        assert mine == outcome(pymongo.helpers_shared._fields_list_to_dict, fields, "projection")
    pairs = [("a", 1), ("b", -1)]
    assert helpers_shared._index_list(pairs) == pymongo.helpers_shared._index_list(pairs)
    assert helpers_shared._index_list("a", -1) == [("a", -1)]
    assert helpers_shared._gen_index_name(pairs) == "a_1_b_-1"
    assert helpers_shared._index_document(pairs) == {"a": 1, "b": -1}


def test_strings_are_prepared_as_pymongo_does() -> None:
    for data in ("user", "I\xadX", "\u2168", b"bytes", "\u0221"):
        mine = outcome(saslprep.saslprep, data, False)
        assert mine == outcome(pymongo.saslprep.saslprep, data, False)
    with pytest.raises(ValueError, match="SASLprep"):
        saslprep.saslprep("\u0221")


def test_database_names_are_checked_under_the_old_name() -> None:
    from mongokey.database_shared import _check_name

    with pytest.raises(errors.InvalidName, match="empty"):
        _check_name("")
    with pytest.raises(errors.InvalidName, match=r"'\.'"):
        _check_name("a.b")
    assert _check_name("a") is None  # type: ignore[func-returns-value]


#: Module -> names that lead to the same object as another module's.
SAME = {
    "auth_oidc_shared.OIDCCallback": "auth_oidc.OIDCCallback",
    "auth_shared.MongoCredential": "auth.MongoCredential",
    "client_session_shared.TransactionOptions": "client_session.TransactionOptions",
    "cursor_shared.CursorType": "cursor.CursorType",
    "pool.PoolOptions": "pool_options.PoolOptions",
    "database._check_name": "database_shared._check_name",
    "synchronous.uri_parser.parse_uri": "uri_parser.parse_uri",
    "synchronous.encryption.ClientEncryption": "encryption.ClientEncryption",
    "uri_parser_shared.split_hosts": "uri_parser.split_hosts",
    "common.validate_boolean": "write_concern.validate_boolean",
    "common.has_c": "bson.has_c",
}


@pytest.mark.parametrize(("path", "other"), SAME.items())
def test_other_paths_lead_to_the_same(path: str, other: str) -> None:
    found = []
    for each in (path, other):
        module, _, name = each.rpartition(".")
        found.append(getattr(importlib.import_module(f"mongokey.{module}"), name))
    assert found[0] is found[1]


def test_the_flags_of_queries_are_pymongos() -> None:
    import pymongo.cursor_shared

    from mongokey.cursor_shared import _QUERY_OPTIONS

    assert _QUERY_OPTIONS == pymongo.cursor_shared._QUERY_OPTIONS


def test_the_mechanisms_are_those_that_the_option_takes() -> None:
    from mongokey.auth_shared import MECHANISMS

    assert {"DEFAULT", "SCRAM-SHA-256", "MONGODB-OIDC"} <= MECHANISMS
    assert isinstance(MECHANISMS, frozenset)


def test_strings_are_read_in_a_loop_too() -> None:
    from mongokey.asynchronous.uri_parser import parse_uri

    uri = "mongodb://u:p@h:1/db?w=1"
    assert asyncio.run(parse_uri(uri)) == mongokey.uri_parser.parse_uri(uri)
    with pytest.raises(errors.InvalidURI):
        asyncio.run(parse_uri("http://h"))
    with pytest.raises(errors.ConfigurationError, match=r"name\.invalid"):
        asyncio.run(parse_uri("mongodb+srv://no.such.name.invalid", connect_timeout=0.5))


# encryption


def test_encryption_is_refused_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from mongokey.asynchronous.encryption import AsyncClientEncryption
    from mongokey.encryption_options import AutoEncryptionOpts

    def not_found(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", not_found)
    for kind in (encryption.ClientEncryption, AsyncClientEncryption, AutoEncryptionOpts):
        with pytest.raises(
            errors.ConfigurationError,
            match=rf"{kind.__name__} needs client-side.*pip install mongokey\[encryption\]",
        ):
            kind({}, "a.b", None, CodecOptions())
    assert encryption.Algorithm.RANGE == "Range"
    assert encryption.QueryType.EQUALITY == "equality"
    assert repr(encryption.RewrapManyDataKeyResult()) == "RewrapManyDataKeyResult(None)"


def test_errors_of_encryption_are_as_their_cause() -> None:
    cause = errors.NetworkTimeout("late")
    assert errors.EncryptionError(cause).cause is cause
    assert errors.EncryptionError(cause).timeout
    assert not errors.EncryptionError(ValueError("no")).timeout
    failed = errors.EncryptedCollectionError(cause, {"fields": []})
    assert failed.encrypted_fields == {"fields": []}
    assert isinstance(failed, errors.PyMongoError)
    assert str(failed) == "late"


# clients, databases, collections


def test_private_names_that_others_use_lead_to_the_public_ones() -> None:
    client: Any = mongokey.MongoClient("mongodb://127.0.0.1:1/")
    for made in (client, mongokey.AsyncMongoClient("mongodb://127.0.0.1:1/")):
        database = made["d"]
        collection = database["c.e"]
        assert database._client is made
        assert database._name == "d"
        assert collection._database is database
        assert collection._name == "c.e"
        assert collection._full_name == "d.c.e"
        assert made._options is made.options
        assert made._encrypter is None
        assert not made._closed
    client.close()
    assert client._closed


def test_a_mock_that_leaves_the_constructor_out_sets_them_itself() -> None:
    class MockCollection(Collection[Any]):
        def __init__(self) -> None:
            self._name = "test"
            self._database = database

        @property
        def database(self) -> Any:
            return self._database

    database: Any = object()
    mock = MockCollection()
    assert mock._name == "test"
    assert mock.database is mock._database is database


def test_pool_options_show_what_servers_are_told() -> None:
    """Clients that are told the same share their options, but not what is appended."""
    told = [
        class_("mongodb://127.0.0.1:1/?appname=a", driver=DriverInfo("Wrapper", "1"))
        for class_ in (mongokey.MongoClient, mongokey.AsyncMongoClient)
        for _ in range(2)
    ]
    for client in told[::2]:
        client.append_metadata(DriverInfo("Library", "2.0", "There"))
        metadata = client.options.pool_options.metadata
        assert metadata == client._context.settings().metadata.document
        assert metadata["driver"]["name"] == "mongokey|Wrapper|Library"
        assert metadata["driver"]["version"].endswith("|1|2.0")
        assert "Metadata" not in repr(client.options.pool_options)
    for client in told[1::2]:
        metadata = client.options.pool_options.metadata
        assert metadata["application"] == {"name": "a"}
        assert metadata["driver"]["name"] == "mongokey|Wrapper"
        assert metadata == client._context.settings().metadata.document
    reference: Any = pymongo.MongoClient("mongodb://127.0.0.1:1/?appname=a", connect=False)
    assert reference.options.pool_options.metadata.keys() == metadata.keys()
    reference.close()
    for client in told[:2]:
        client.close()


def test_what_was_appended_before_dns_was_asked_is_shown_afterwards() -> None:
    def resolve(question: Any) -> DNSAnswer:
        return DNSAnswer([("h.example.com", 1)], None, 60.0)

    client = mongokey.MongoClient(
        "mongodb+srv://db.example.com", connect=False, srv_resolver=resolve
    )
    client.append_metadata(DriverInfo("Library"))
    client._context.resolve_srv()
    assert not client.options.needs_dns
    assert client.options.pool_options.metadata["driver"]["name"] == "mongokey|Library"
    client.close()


class Collector:
    """What mongomock makes of PyMongo's requests."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *values, **named: self.calls.append((name, values, named))


REQUESTS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("InsertOne", ({"_id": 1},), {}),
    ("UpdateOne", ({"a": 1}, {"$set": {"b": 1}}), {}),
    (
        "UpdateOne",
        ({"a": 1}, {"$set": {"b.$[x]": 1}}),
        {"upsert": True, "array_filters": [{"x": 1}], "hint": "a_1", "sort": {"a": 1}},
    ),
    ("UpdateMany", ({"a": 1}, {"$set": {"b": 1}}), {"upsert": False}),
    ("ReplaceOne", ({"a": 1}, {"b": 1}), {"upsert": True, "collation": {"locale": "en"}}),
    ("DeleteOne", ({"a": 1},), {"hint": {"a": 1}}),
    ("DeleteMany", ({"a": 1},), {}),
]


@pytest.mark.parametrize(("name", "values", "named"), REQUESTS)
def test_requests_have_the_private_names_that_mocks_read(
    name: str, values: tuple[Any, ...], named: dict[str, Any]
) -> None:
    ours = getattr(mongokey, name)(*values, **named)
    theirs = getattr(pymongo, name)(*values, **named)
    private = ["_doc", "_filter", "_upsert", "_collation", "_hint", "_sort", "_array_filters"]
    for each in private:
        if hasattr(theirs, each):
            assert getattr(ours, each) == getattr(theirs, each), each
    collected, expected = Collector(), Collector()
    ours._add_to_bulk(collected)
    theirs._add_to_bulk(expected)
    ((method, given, options),) = collected.calls
    ((named_so, wanted, all_options),) = expected.calls
    assert method == named_so
    assert list(map(bool, given)) == list(map(bool, wanted))
    assert [each for each in given if isinstance(each, dict)] == [
        each for each in wanted if isinstance(each, dict)
    ]
    # What was not given is left out: mongomock does not know every option.
    assert options == {option: value for option, value in all_options.items() if value is not None}


@pytest.mark.parametrize("uri", ["mongodb://b,a:2/?replicaSet=rs", "mongodb://h"])
def test_clients_are_compared_by_what_pymongos_are(uri: str) -> None:
    ours: Any = mongokey.MongoClient(uri)
    assert ours.eq_props() == pymongo.MongoClient(uri, connect=False).eq_props()
    assert hash(ours) == hash(mongokey.MongoClient(uri))
    assert ours


def test_nothing_is_iterable_that_pymongos_is_not() -> None:
    from collections.abc import Iterable, Iterator

    client: Any = mongokey.MongoClient("mongodb://127.0.0.1:1/")
    for each in (client, client.d, client.d.c, mongokey.AsyncMongoClient().d.c):
        assert not isinstance(each, Iterable)
        assert not isinstance(each, Iterator)
        with pytest.raises(TypeError, match="not iterable"):
            iter(each)
        with pytest.raises(TypeError, match="not iterable"):
            next(each)
        with pytest.raises(TypeError, match="not iterable"):
            each.next()


def test_collections_take_pymongos_parameters_in_its_order() -> None:
    database: Any = mongokey.MongoClient("mongodb://127.0.0.1:1/").d
    options: Any = CodecOptions(tz_aware=True)
    made: Any = Collection(database, "c", False, options, Nearest())
    assert made.codec_options is options
    assert made.read_preference == Nearest()
    again = made.with_options(read_preference=Nearest(max_staleness=100))
    assert again.codec_options is options
    assert again.read_preference.max_staleness == 100
    assert database.with_options(codec_options=options)["c"].codec_options is options


def test_a_class_that_makes_collections_in_its_own_way_is_called() -> None:
    from unittest import mock

    from mongokey.database import Database

    called: list[str] = []

    class Filled(Collection[Any]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            called.append("init")
            super().__init__(*args, **kwargs)

    class Made(Collection[Any]):
        def __new__(cls, *args: Any, **kwargs: Any) -> Any:
            called.append("new")
            return super().__new__(cls)

    class Calls(type):
        def __call__(cls, *args: Any, **kwargs: Any) -> Any:
            called.append("call")
            return super().__call__(*args, **kwargs)

    class Called(Collection[Any], metaclass=Calls):
        pass

    class Plain(Collection[Any]):
        pass

    client: Any = mongokey.MongoClient("mongodb://127.0.0.1:1/")
    for kind in (Filled, Made, Called, Plain):

        class Own(Database[Any]):
            _collection_class = kind

        made = Own(client, "d")["c"]
        assert type(made) is kind
        assert made.full_name == made.e.database.name + ".c"
    # Each also for the collection below it.
    assert called == ["init", "init", "new", "new", "call", "call"]

    def patched(self: Any, *args: Any) -> None:
        called.append("patched")

    with mock.patch.object(Collection, "__init__", patched):
        assert isinstance(client.d["c"], Collection)
    assert called[-1] == "patched"
    assert client.d["c"].full_name == "d.c"


def test_a_collection_of_asyncio_is_not_created_by_its_constructor() -> None:
    from mongokey.asynchronous.collection import AsyncCollection

    database: Any = mongokey.AsyncMongoClient("mongodb://127.0.0.1:1/").d
    for kwargs in ({"create": True}, {"capped": True}):
        with pytest.raises(ValueError, match=r"await database\.create_collection"):
            AsyncCollection(database, "c", **kwargs)


def test_versions_are_told() -> None:
    assert mongokey.get_version_string() == mongokey.version == mongokey.__version__
    assert ".".join(map(str, mongokey.version_tuple)) == mongokey.__version__
    assert mongokey.has_c() is True
    assert mongokey.MIN_SUPPORTED_WIRE_VERSION < mongokey.MAX_SUPPORTED_WIRE_VERSION


def test_buffers_and_array_keys() -> None:
    import array
    from itertools import islice

    import bson

    from mongokey.bson import gen_list_name, get_data_and_view

    assert list(islice(gen_list_name(), 1200)) == list(islice(bson.gen_list_name(), 1200))
    for data in (b"abc", bytearray(b"abc"), memoryview(b"abc"), array.array("B", b"abc")):
        kept, view = get_data_and_view(data)
        his, his_view = bson.get_data_and_view(data)
        assert (kept, bytes(view), type(kept)) == (his, bytes(his_view), type(his))


def test_descriptions_say_whether_they_fit() -> None:
    client: Any = mongokey.MongoClient("mongodb://127.0.0.1:1/")
    description = client.topology_description
    assert description.has_server(("127.0.0.1", 1))
    assert not description.has_server(("127.0.0.1", 2))
    assert description.check_compatible() is None
    (server,) = description.server_descriptions().values()
    assert not server.retryable_reads_supported
    assert server.cluster_time is None
