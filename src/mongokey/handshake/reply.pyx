# cython: language_level=3
"""The server's answer to hello, read once into checked fields.

Knows what hello's fields mean (server-discovery-and-monitoring.md, "ServerDescription") and
within which bounds their values make sense. Must not know what is done about them.
"""

from collections.abc import Mapping

from libc.stdint cimport int32_t

from mongokey._version import __version__
from mongokey.errors import ConfigurationError, ProtocolError

cdef enum:
    # What holds when hello does not say.
    _BSON_SIZE = 16777216
    _MESSAGE_SIZE = 48000000
    _WRITE_BATCH_SIZE = 100000
    # What a server may raise the limits to: the client would allocate as much at its word.
    _MOST_BSON_SIZE = 67108864
    _MOST_MESSAGE_SIZE = 134217728
    _MOST_WRITE_BATCH_SIZE = 1000000

DEFAULT_BSON_SIZE = _BSON_SIZE
DEFAULT_MESSAGE_SIZE = _MESSAGE_SIZE
DEFAULT_WRITE_BATCH_SIZE = _WRITE_BATCH_SIZE
MAX_BSON_SIZE = _MOST_BSON_SIZE
MAX_MESSAGE_SIZE = _MOST_MESSAGE_SIZE
MAX_WRITE_BATCH_SIZE = _MOST_WRITE_BATCH_SIZE

# The range of wire versions this driver speaks: MongoDB 4.2 and what is known to be compatible.
MIN_WIRE_VERSION = 8
MAX_WIRE_VERSION = 29
MIN_SERVER = "4.2"

# Wire version -> the first server release that has it.
SERVER_RELEASES = {
    0: "2.4",
    2: "2.6",
    3: "3.0",
    4: "3.2",
    5: "3.4",
    6: "3.6",
    7: "4.0",
    8: "4.2",
    9: "4.4",
    13: "5.0",
    17: "6.0",
    21: "7.0",
    25: "8.0",
}

STANDALONE = "Standalone"
MONGOS = "Mongos"
RS_PRIMARY = "RSPrimary"
RS_SECONDARY = "RSSecondary"
RS_ARBITER = "RSArbiter"
RS_OTHER = "RSOther"
RS_GHOST = "RSGhost"
LOAD_BALANCER = "LoadBalancer"

_WRITABLE = frozenset({STANDALONE, MONGOS, RS_PRIMARY, LOAD_BALANCER})
_SET_MEMBERS = frozenset({RS_PRIMARY, RS_SECONDARY, RS_ARBITER, RS_OTHER})


cdef class HelloReply:
    """A successful answer to hello.

    Raises ProtocolError, naming the field, when a value is of the wrong type or out of all
    bounds; limits above this driver's own are lowered to those. `document` is the whole answer.
    Sizes are in bytes.
    """

    def __reduce__(self):
        # The facts of a failed login hold it, and an error is to reach another process.
        return HelloReply, (self.document,)

    def __init__(self, document):
        cdef dict d = document if type(document) is dict else dict(document)
        self.document = d
        self.server_type = _server_type(d)
        self.max_bson_size = _limit(d, "maxBsonObjectSize", _BSON_SIZE, _MOST_BSON_SIZE)
        self.max_message_size = _limit(d, "maxMessageSizeBytes", _MESSAGE_SIZE, _MOST_MESSAGE_SIZE)
        self.max_write_batch_size = _limit(
            d, "maxWriteBatchSize", _WRITE_BATCH_SIZE, _MOST_WRITE_BATCH_SIZE
        )
        self.min_wire_version = _number(d, "minWireVersion", 0)
        self.max_wire_version = _number(d, "maxWireVersion", 0)
        if d.get("logicalSessionTimeoutMinutes") is not None:
            self.logical_session_timeout_minutes = _number(d, "logicalSessionTimeoutMinutes", 0)
        self.hello_ok = d.get("helloOk") is True
        self.set_name = _optional(d, "setName", str)
        self.me = _address(d, "me")
        self.primary = _address(d, "primary")
        self.hosts = _addresses(d, "hosts")
        self.passives = _addresses(d, "passives")
        self.arbiters = _addresses(d, "arbiters")
        self.compression = tuple(_strings(d, "compression"))
        # Not checked any further: auth.md lets unknown mechanisms stand in it.
        self.sasl_supported_mechs = _optional(d, "saslSupportedMechs", list)
        self.speculative_authenticate = _optional(d, "speculativeAuthenticate", Mapping)
        self.topology_version = _optional(d, "topologyVersion", Mapping)
        # An int, as servers number connections, though some proxies send a double.
        self.connection_id = _optional(d, "connectionId", (int, float))
        self.service_id = d.get("serviceId")

    @property
    def is_writable(self):
        """Whether the server takes writes."""
        return self.server_type in _WRITABLE

    @property
    def is_readable(self):
        """Whether the server holds data that can be read."""
        return self.server_type in _WRITABLE or self.server_type == RS_SECONDARY

    @property
    def is_mongos(self):
        """Whether this is the router of a sharded cluster."""
        return self.server_type == MONGOS

    @property
    def is_arbiter(self):
        """Whether this is an arbiter: it holds no data and knows no users."""
        return self.server_type == RS_ARBITER

    @property
    def is_ghost(self):
        """Whether this is a replica set member without a set's configuration."""
        return self.server_type == RS_GHOST

    @property
    def is_replica_set_member(self):
        """Whether this is a member of an initiated replica set."""
        return self.server_type in _SET_MEMBERS

    @property
    def is_compatible(self):
        return (
            self.max_wire_version >= MIN_WIRE_VERSION and self.min_wire_version <= MAX_WIRE_VERSION
        )

    def check_compatible(self, str server not None):
        """Raise ConfigurationError when `server`'s wire versions and ours do not overlap."""
        if self.max_wire_version < MIN_WIRE_VERSION:
            raise ConfigurationError(
                f"the server at {server} is too old: it speaks up to wire version "
                f"{self.max_wire_version} ({_release(self.max_wire_version)}), and mongokey "
                f"{__version__} needs at least {MIN_WIRE_VERSION} (MongoDB {MIN_SERVER})"
            )
        if self.min_wire_version > MAX_WIRE_VERSION:
            raise ConfigurationError(
                f"the server at {server} is too new: it speaks wire version "
                f"{self.min_wire_version} and up ({_release(self.min_wire_version)}), and mongokey "
                f"{__version__} speaks up to {MAX_WIRE_VERSION}; a newer mongokey may know it"
            )

    def __repr__(self):
        return (
            f"<HelloReply {self.server_type} set={self.set_name!r} "
            f"wire={self.min_wire_version}..{self.max_wire_version}>"
        )


cdef str _server_type(dict document):
    """server-discovery-and-monitoring.md, "type", read from top to bottom."""
    if document.get("serviceId"):
        return LOAD_BALANCER
    if document.get("isreplicaset"):
        return RS_GHOST
    if document.get("setName"):
        if document.get("hidden"):
            return RS_OTHER
        if document.get("isWritablePrimary") or document.get("ismaster"):
            return RS_PRIMARY
        if document.get("secondary"):
            return RS_SECONDARY
        return RS_ARBITER if document.get("arbiterOnly") else RS_OTHER
    return MONGOS if document.get("msg") == "isdbgrid" else STANDALONE


cdef object _broken(str name, value, str expected):
    return ProtocolError(
        f"the server's hello cannot be right: {name} is {str(value)[:40]!r} "
        f"({type(value).__name__}), expected {expected}"
    )


cdef int32_t _number(dict document, str name, int32_t default) except -1:
    value = document.get(name)
    if value is None:
        return default
    if type(value) is not int:
        # An Int64, or a whole double of a server that is not written in C++.
        whole = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not whole or not -(2.0**53) < value < 2.0**53 or value != int(value):
            raise _broken(name, value, "a whole number")
        value = int(value)
    if not 0 <= value <= 2147483647:
        raise _broken(name, value, "a number from 0 to 2147483647")
    return <int32_t>value


cdef int32_t _limit(dict document, str name, int32_t default, int32_t highest) except -1:
    cdef int32_t number = _number(document, name, default)
    if number == 0:
        raise _broken(name, number, "a number above 0")
    return number if number < highest else highest


cdef object _optional(dict document, str name, kind):
    value = document.get(name)
    if value is None or type(value) is kind or (kind is Mapping and type(value) is dict):
        return value
    if not isinstance(value, kind) or isinstance(value, bool):
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise _broken(name, value, " or ".join([k.__name__ for k in kinds]))
    return value


cdef list _strings(dict document, str name):
    values = document.get(name)
    if values is None:
        return []
    if not isinstance(values, list):
        raise _broken(name, values, "a list of strings")
    for value in values:
        if not isinstance(value, str):
            raise _broken(name, value, "a string in the list")
    return values


cdef tuple _addresses(dict document, str name):
    if document.get(name) is None:
        return ()
    return tuple([_split(name, value) for value in _strings(document, name)])


cdef object _address(dict document, str name):
    value = _optional(document, name, str)
    return _split(name, value) if value else None


cdef tuple _split(str name, str text):
    """`host:port` or `[v6]:port` as (host in lower case, port); 27017 when none is given."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, "27017"
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
        raise _broken(name, text, "an address host:port")
    return host.lower(), int(port)


cdef str _release(int32_t wire_version):
    known = [version for version in SERVER_RELEASES if version <= wire_version]
    if not known or wire_version > max(SERVER_RELEASES) + 3:
        return "a release this driver does not know"
    return f"MongoDB {SERVER_RELEASES[max(known)]}"
