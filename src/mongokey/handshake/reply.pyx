# cython: language_level=3
"""The server's answer to hello, read once into checked fields.

Knows what hello's fields mean (server-discovery-and-monitoring.md, "ServerDescription") and
within which bounds their values make sense. Must not know what is done about them.
"""

from collections.abc import Mapping

from libc.stdint cimport int32_t

from mongokey._support.address import parse_address
from mongokey._version import __version__
from mongokey.bson.objectid import ObjectId
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
    # Members that are believed to be there: a set has 50 at most, and each is connected to.
    _MOST_MEMBERS = 256
    # No command fits into fewer bytes.
    _LEAST_SIZE = 512

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

    What tells a server's role or whether we speak its language (its set's name, its wire versions)
    has to make sense, else `ProtocolError` names the field; it names an address too that is a path,
    since a server must not lead a client to the files of its machine. Anything else that makes none
    counts as not said: imitations of MongoDB are careless there, and no login needs it. Limits
    above this driver's own are lowered to those. `document` is the whole answer. Sizes are in
    bytes.
    """

    def __reduce__(self):
        # The facts of a failed login hold it, and an error is to reach another process.
        return HelloReply, (self.document,)

    def __init__(self, document):
        cdef dict d = document if type(document) is dict else dict(document)
        self.document = d
        self.server_type = _server_type(d)
        self.max_bson_size = _limit(
            d, "maxBsonObjectSize", _BSON_SIZE, _LEAST_SIZE, _MOST_BSON_SIZE
        )
        self.max_message_size = _limit(
            d, "maxMessageSizeBytes", _MESSAGE_SIZE, _LEAST_SIZE, _MOST_MESSAGE_SIZE
        )
        self.max_write_batch_size = _limit(
            d, "maxWriteBatchSize", _WRITE_BATCH_SIZE, 1, _MOST_WRITE_BATCH_SIZE
        )
        self.min_wire_version = _version(d, "minWireVersion")
        self.max_wire_version = _version(d, "maxWireVersion")
        self.logical_session_timeout_minutes = _minutes(d.get("logicalSessionTimeoutMinutes"))
        self.hello_ok = d.get("helloOk") is True
        set_name = d.get("setName")
        if set_name is not None and not isinstance(set_name, str):
            raise _broken("setName", set_name, "a string")
        self.set_name = set_name
        self.me = _address("me", d.get("me"))
        self.primary = _address("primary", d.get("primary"))
        self.hosts = _addresses(d, "hosts")
        self.passives = _addresses(d, "passives")
        self.arbiters = _addresses(d, "arbiters")
        names = d.get("compression")
        self.compression = ()
        if isinstance(names, list):
            self.compression = tuple([each for each in names if isinstance(each, str)])
        # Not checked any further: auth.md lets unknown mechanisms stand in it.
        value = d.get("saslSupportedMechs")
        self.sasl_supported_mechs = value if isinstance(value, list) else None
        value = d.get("speculativeAuthenticate")
        self.speculative_authenticate = value if _is_document(value) else None
        self.topology_version = topology_version_of(d.get("topologyVersion"))
        # An int, as servers number connections, though some proxies send a double.
        value = d.get("connectionId")
        self.connection_id = value if type(value) is int or _is_number(value) else None
        value = d.get("serviceId")
        self.service_id = value if isinstance(value, ObjectId) else None

    cdef bint in_replica_set(self) except -1:
        return self.server_type in _SET_MEMBERS

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
        return self.in_replica_set()

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


cdef object _whole(value):
    """`value` as an int if it is a whole number of some BSON type, else None."""
    if type(value) is int:
        return value
    # An Int64, or a double of a server that is not written in C++.
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not -(2.0**63) <= value < 2.0**63 or value != int(value):
        return None
    return int(value)


cdef int32_t _version(dict document, str name) except -1:
    value = document.get(name)
    if value is None:
        return 0
    whole = _whole(value)
    if whole is None or whole < 0:
        raise _broken(name, value, "a whole number from 0")
    return <int32_t>min(whole, 2147483647)


cdef int32_t _limit(
    dict document, str name, int32_t default, int32_t lowest, int32_t highest
) except -1:
    """A limit within our bounds; the default for one that nobody could keep."""
    whole = _whole(document.get(name))
    if whole is None or whole < lowest:
        return default
    return <int32_t>min(whole, highest)


cdef object _minutes(value):
    whole = _whole(value)
    return whole if whole is not None and 0 <= whole <= 2147483647 else None


cdef bint _is_document(value) except -1:
    # Asked first, as `Mapping` is slow to say so.
    return type(value) is dict or (value is not None and isinstance(value, Mapping))


cdef bint _is_number(value) except -1:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def topology_version_of(value):
    """A topologyVersion in a server's answer, of its two fields alone, as it is kept and sent back;
    None for what is none."""
    if value is None or not _is_document(value):
        return None
    process, counter = value.get("processId"), value.get("counter")
    if not isinstance(process, ObjectId) or not isinstance(counter, int):
        return None
    return None if isinstance(counter, bool) else {"processId": process, "counter": counter}


cdef tuple _addresses(dict document, str name):
    cdef list found
    values = document.get(name)
    if values is None or not isinstance(values, list):
        return ()
    found = []
    for value in values:
        address = _address(name, value)
        if address is not None:
            found.append(address)
            if len(found) == _MOST_MEMBERS:
                break
    return tuple(found)


# "host:port" -> what it says: members of one set name each other in every hello.
cdef dict _known = {}
cdef enum:
    _MOST_KNOWN = 256


cdef object _address(str name, value):
    """The Address that a field names; None for what names no host. Raises ProtocolError for a
    path."""
    if type(value) is str:
        known = _known.get(value)
        if known is not None:
            return known
    elif not isinstance(value, str):
        return None
    try:
        address = parse_address(value)
    except ValueError:
        raise _broken(name, value, "a host and no path") from None
    if address is not None and len(_known) < _MOST_KNOWN:
        _known[str(value)] = address
    return address


cdef str _release(int32_t wire_version):
    known = [version for version in SERVER_RELEASES if version <= wire_version]
    if not known or wire_version > max(SERVER_RELEASES) + 3:
        return "a release this driver does not know"
    return f"MongoDB {SERVER_RELEASES[max(known)]}"
