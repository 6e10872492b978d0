"""The hello command, and the server's answer read into checked fields."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mongokey.bson.int64 import Int64
from mongokey.bson.objectid import ObjectId
from mongokey.errors import ConfigurationError, MongoError, ProtocolError
from mongokey.handshake import HelloReply, hello_command
from mongokey.handshake.reply import (
    DEFAULT_BSON_SIZE,
    DEFAULT_MESSAGE_SIZE,
    DEFAULT_WRITE_BATCH_SIZE,
    MAX_BSON_SIZE,
    MAX_MESSAGE_SIZE,
    MAX_WRITE_BATCH_SIZE,
)
from tests.servers.login_server import HELLO

VERSION = {"processId": ObjectId(), "counter": 6}
FULL = {
    **HELLO,
    "hosts": ["A.example.com:27017", "b.example.com:27018"],
    "passives": ["[::1]:27019"],
    "setName": "rs0",
    "primary": "A.example.com:27017",
    "me": "b.example.com:27018",
    "topologyVersion": VERSION,
    "compression": ["zstd", "zlib"],
    "saslSupportedMechs": ["SCRAM-SHA-256", "SOMETHING-ELSE"],
    "speculativeAuthenticate": {"conversationId": 1},
}


def test_the_first_message_is_a_legacy_hello_that_asks_for_hello():
    assert hello_command(None) == {"isMaster": 1, "helloOk": True}
    assert next(iter(hello_command(None))) == "isMaster"


@pytest.mark.parametrize("options", [{"hello_ok": True}, {"load_balanced": True}])
def test_hello_is_used_where_the_server_has_it_or_must_have_it(options):
    command = hello_command(None, **options)
    assert next(iter(command)) == "hello"
    assert "helloOk" not in command
    # Announced is only what is done: overload errors are not retried yet.
    assert "backpressure" not in command
    assert command.get("loadBalanced", False) is options.get("load_balanced", False)


def test_all_parts_are_carried():
    command = hello_command(
        {"driver": {}},
        compressors=("zstd", "zlib"),
        sasl_supported_mechs="admin.user",
        speculative={"saslStart": 1, "db": "admin"},
    )
    assert command["client"] == {"driver": {}}
    assert command["compression"] == ["zstd", "zlib"]
    assert command["saslSupportedMechs"] == "admin.user"
    assert command["speculativeAuthenticate"] == {"saslStart": 1, "db": "admin"}


def test_a_full_answer_is_read():
    hello = HelloReply(FULL)
    assert hello.server_type == "RSPrimary"
    assert hello.hosts == (("a.example.com", 27017), ("b.example.com", 27018))
    assert hello.passives == (("::1", 27019),)
    assert hello.primary == ("a.example.com", 27017)
    assert hello.me == ("b.example.com", 27018)
    assert hello.set_name == "rs0"
    assert hello.hello_ok is True
    assert hello.compression == ("zstd", "zlib")
    assert hello.sasl_supported_mechs == ["SCRAM-SHA-256", "SOMETHING-ELSE"]
    assert hello.speculative_authenticate == {"conversationId": 1}
    assert hello.topology_version == VERSION
    assert (hello.min_wire_version, hello.max_wire_version) == (0, 21)
    assert hello.logical_session_timeout_minutes == 30
    assert hello.connection_id == 7
    assert hello.document is FULL
    assert (hello.is_writable, hello.is_readable, hello.is_replica_set_member) == (True,) * 3
    assert "RSPrimary" in repr(hello)


def test_the_defaults_are_the_specifications():
    hello = HelloReply({"ok": 1.0})
    assert hello.max_bson_size == 16777216
    assert hello.max_message_size == 48000000
    assert hello.max_write_batch_size == 100000
    assert (hello.min_wire_version, hello.max_wire_version) == (0, 0)
    assert hello.logical_session_timeout_minutes is None
    assert hello.hello_ok is False
    assert hello.hosts == ()
    assert hello.sasl_supported_mechs is None


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"ismaster": True}, "Standalone"),
        ({"ismaster": False}, "Standalone"),
        ({"msg": "isdbgrid"}, "Mongos"),
        ({"setName": "rs", "ismaster": True}, "RSPrimary"),
        ({"setName": "rs", "isWritablePrimary": True}, "RSPrimary"),
        ({"setName": "rs", "secondary": True}, "RSSecondary"),
        ({"setName": "rs", "secondary": True, "hidden": True}, "RSOther"),
        ({"setName": "rs", "ismaster": True, "hidden": True}, "RSOther"),
        ({"setName": "rs", "arbiterOnly": True}, "RSArbiter"),
        ({"setName": "rs"}, "RSOther"),
        ({"isreplicaset": True}, "RSGhost"),
        ({"serviceId": "x", "msg": "isdbgrid"}, "LoadBalancer"),
    ],
)
def test_the_server_type_follows_the_specifications_table(document, expected):
    hello = HelloReply(document)
    assert hello.server_type == expected
    assert hello.is_mongos == (expected == "Mongos")
    assert hello.is_arbiter == (expected == "RSArbiter")
    assert hello.is_ghost == (expected == "RSGhost")
    writable = expected in ("Standalone", "Mongos", "RSPrimary", "LoadBalancer")
    assert hello.is_writable == writable
    assert hello.is_readable == (writable or expected == "RSSecondary")
    member = expected in ("RSPrimary", "RSSecondary", "RSArbiter", "RSOther")
    assert hello.is_replica_set_member == member


@pytest.mark.parametrize(
    ("name", "attribute", "cap"),
    [
        ("maxBsonObjectSize", "max_bson_size", MAX_BSON_SIZE),
        ("maxMessageSizeBytes", "max_message_size", MAX_MESSAGE_SIZE),
        ("maxWriteBatchSize", "max_write_batch_size", MAX_WRITE_BATCH_SIZE),
    ],
)
def test_limits_are_bounded(name, attribute, cap):
    assert getattr(HelloReply({name: 1000}), attribute) == 1000
    assert getattr(HelloReply({name: 1000.0}), attribute) == 1000
    assert getattr(HelloReply({name: (1 << 31) - 1}), attribute) == cap
    for large in (1 << 31, 1 << 62, Int64(1 << 40), 2.0**40):
        assert getattr(HelloReply({name: large}), attribute) == cap


@pytest.mark.parametrize(
    ("name", "attribute", "default"),
    [
        ("maxBsonObjectSize", "max_bson_size", DEFAULT_BSON_SIZE),
        ("maxMessageSizeBytes", "max_message_size", DEFAULT_MESSAGE_SIZE),
        ("maxWriteBatchSize", "max_write_batch_size", DEFAULT_WRITE_BATCH_SIZE),
        ("logicalSessionTimeoutMinutes", "logical_session_timeout_minutes", None),
    ],
)
def test_limits_that_nobody_could_keep_are_the_defaults(name, attribute, default):
    wrong = [-1, -(1 << 63), 1e300, float("nan"), float("inf"), -float("inf"), 1.5, "1", True, []]
    for value in wrong:
        assert getattr(HelloReply({**FULL, name: value}), attribute) == default
    if name != "logicalSessionTimeoutMinutes":
        assert getattr(HelloReply({name: 0}), attribute) == default
    if "Size" in name and "Batch" not in name:
        assert getattr(HelloReply({name: 1}), attribute) == default


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("minWireVersion", "0"),
        ("maxWireVersion", -1),
        ("maxWireVersion", float("nan")),
        ("maxWireVersion", 8.5),
        ("maxWireVersion", True),
        ("setName", 7),
    ],
)
def test_values_that_a_server_is_judged_by_have_to_make_sense(name, wrong):
    with pytest.raises(ProtocolError, match=f"hello cannot be right: {name}"):
        HelloReply({**FULL, name: wrong})


def test_wire_versions_may_be_numbers_of_any_kind():
    for number in (21, 21.0, Int64(21)):
        hello = HelloReply({"minWireVersion": number, "maxWireVersion": number})
        assert (hello.min_wire_version, hello.max_wire_version) == (21, 21)
    assert HelloReply({"maxWireVersion": 1 << 40}).max_wire_version == (1 << 31) - 1


@pytest.mark.parametrize("name", ["hosts", "passives", "arbiters"])
def test_a_server_cannot_have_a_client_connect_to_any_number_of_hosts(name):
    hosts = [f"host{number}:1" for number in range(10_000)]
    assert len(getattr(HelloReply({**FULL, name: hosts}), name)) == 256


@pytest.mark.parametrize("name", ["me", "primary", "hosts", "passives", "arbiters"])
@pytest.mark.parametrize(
    "path",
    ["/tmp/x.sock:1", "/tmp/x.sock", "/tmp/x", "a/b:27017", "x.sock:1", "X.SOCK", "C:\\pipe\\x:1"],
)
def test_a_server_cannot_name_a_path(name, path):
    value = path if name in ("me", "primary") else ["h:1", path]
    with pytest.raises(ProtocolError, match=f"hello cannot be right: {name}.*no path"):
        HelloReply({**FULL, name: value})


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", ":27017", "host:port", "host:0", "host:65536", "host:99999999999999999999"),
        *("host:\u0661", "a..b", "-a:1", "ho st:1", "host\0:1", "[::1", "::1", "[:::]:1"),
        *("x" * 64 + ":1", "x" * 5000, 7, None, [], {}),
    ],
)
def test_an_address_that_is_none_counts_as_not_said(text):
    hello = HelloReply({**FULL, "me": text, "primary": text, "hosts": [text, "Good:1", text]})
    assert (hello.me, hello.primary) == (None, None)
    assert hello.hosts == (("good", 1),)


@pytest.mark.parametrize(
    ("name", "attribute", "wrong", "expected"),
    [
        ("hosts", "hosts", "host", ()),
        ("passives", "passives", {}, ()),
        ("compression", "compression", "zlib", ()),
        ("compression", "compression", [None, "zlib", 7], ("zlib",)),
        ("saslSupportedMechs", "sasl_supported_mechs", "SCRAM-SHA-1", None),
        ("speculativeAuthenticate", "speculative_authenticate", [], None),
        ("topologyVersion", "topology_version", 7, None),
        ("topologyVersion", "topology_version", {}, None),
        ("topologyVersion", "topology_version", {**VERSION, "processId": "x"}, None),
        ("topologyVersion", "topology_version", {**VERSION, "counter": "x"}, None),
        ("topologyVersion", "topology_version", {**VERSION, "counter": True}, None),
        # It is sent back with each hello that waits.
        ("topologyVersion", "topology_version", {**VERSION, "filler": "x" * 9999}, VERSION),
        ("connectionId", "connection_id", "7", None),
        ("connectionId", "connection_id", True, None),
        ("connectionId", "connection_id", Int64(7), 7),
        ("connectionId", "connection_id", 7.0, 7),
    ],
)
def test_what_a_login_does_not_need_is_never_fatal(name, attribute, wrong, expected):
    assert getattr(HelloReply({**FULL, name: wrong}), attribute) == expected


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("host", ("host", 27017)),
        ("HOST:1", ("host", 1)),
        ("[fe80::1]", ("fe80::1", 27017)),
        ("[FE80::1]:99", ("fe80::1", 99)),
    ],
)
def test_addresses_are_split(text, address):
    assert HelloReply({"me": text}).me == address


def test_incompatible_servers_are_told_from_compatible_ones():
    HelloReply({"minWireVersion": 0, "maxWireVersion": 8}).check_compatible("h:1")
    HelloReply({"minWireVersion": 29, "maxWireVersion": 99}).check_compatible("h:1")
    for versions, said in (
        ((0, 7), r"h:1 is too old: .* 7 \(MongoDB 4\.0\).* 8 \(MongoDB 4\.2\)"),
        ((0, 0), r"h:1 is too old: .* 0 \(MongoDB 2\.4\)"),
        ((30, 40), r"h:1 is too new: .* 30 .*up to 29"),
    ):
        hello = HelloReply({"minWireVersion": versions[0], "maxWireVersion": versions[1]})
        with pytest.raises(ConfigurationError, match=said):
            hello.check_compatible("h:1")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from([*FULL, "arbiters", "msg", "hidden", "serviceId"]), values))
def test_no_answer_whatever_breaks_the_reading_otherwise_than_cleanly(fields):
    refused = None
    try:
        hello = HelloReply({**FULL, **fields})
        hello.check_compatible("h:1")
    except MongoError as error:
        refused = str(error)
    if refused is not None:
        assert len(refused) < 400
        return
    assert 0 < hello.max_message_size <= MAX_MESSAGE_SIZE
    assert 0 < hello.max_bson_size <= MAX_BSON_SIZE
