"""mongokey: a MongoDB driver core whose hot paths are Cython, with PyMongo's names.

Names are loaded when they are first used, so that importing the package costs little.
"""

from __future__ import annotations

from mongokey._support.lazy import loader
from mongokey._version import __version__

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import mongokey._support.certificates
    import mongokey.aio
    import mongokey.asynchronous.change_stream
    import mongokey.asynchronous.collection
    import mongokey.asynchronous.command_cursor
    import mongokey.asynchronous.cursor
    import mongokey.asynchronous.database
    import mongokey.asynchronous.encryption
    import mongokey.asynchronous.mongo_client
    import mongokey.asynchronous.uri_parser
    import mongokey.auth
    import mongokey.auth_oidc
    import mongokey.auth_oidc_shared
    import mongokey.auth_shared
    import mongokey.bson
    import mongokey.change_stream
    import mongokey.client_options
    import mongokey.client_session_shared
    import mongokey.collation
    import mongokey.collection
    import mongokey.command_cursor
    import mongokey.common
    import mongokey.connection
    import mongokey.credentials
    import mongokey.crypt
    import mongokey.cursor
    import mongokey.cursor_shared
    import mongokey.database
    import mongokey.database_shared
    import mongokey.dns
    import mongokey.driver_info
    import mongokey.encryption
    import mongokey.encryption_options
    import mongokey.encryption_shared
    import mongokey.errors
    import mongokey.handshake
    import mongokey.hello
    import mongokey.helpers_shared
    import mongokey.mongo_client
    import mongokey.operations
    import mongokey.options.connection_string
    import mongokey.options.table
    import mongokey.pool
    import mongokey.pool_options
    import mongokey.read_concern
    import mongokey.read_preferences
    import mongokey.results
    import mongokey.saslprep
    import mongokey.server_api
    import mongokey.sessions
    import mongokey.synchronous.change_stream
    import mongokey.synchronous.collection
    import mongokey.synchronous.command_cursor
    import mongokey.synchronous.cursor
    import mongokey.synchronous.database
    import mongokey.synchronous.encryption
    import mongokey.synchronous.mongo_client
    import mongokey.synchronous.uri_parser
    import mongokey.topology
    import mongokey.transport
    import mongokey.typings
    import mongokey.uri_parser
    import mongokey.uri_parser_shared
    import mongokey.wire
    import mongokey.write_concern  # noqa: F401 - for the checker
    from mongokey.aio.mongo_client import AsyncMongoClient
    from mongokey.bson import has_c
    from mongokey.collection import ReturnDocument
    from mongokey.commands.arguments import ASCENDING, DESCENDING
    from mongokey.common import MAX_SUPPORTED_WIRE_VERSION, MIN_SUPPORTED_WIRE_VERSION
    from mongokey.cursor import CursorType
    from mongokey.execution.time_limits import timeout
    from mongokey.mongo_client import MongoClient
    from mongokey.operations import (
        DeleteMany,
        DeleteOne,
        IndexModel,
        InsertOne,
        ReplaceOne,
        UpdateMany,
        UpdateOne,
    )
    from mongokey.read_preferences import ReadPreference
    from mongokey.stand_in import install_as_pymongo, uninstall_as_pymongo
    from mongokey.write_concern import WriteConcern

GEO2D = "2d"
GEOSPHERE = "2dsphere"
HASHED = "hashed"
TEXT = "text"

# Name -> the module it is loaded from.
_HOMES = {
    "ASCENDING": "mongokey.commands.arguments",
    "AsyncMongoClient": "mongokey.aio.mongo_client",
    "DESCENDING": "mongokey.commands.arguments",
    "CursorType": "mongokey.cursor",
    "IndexModel": "mongokey.operations",
    "MAX_SUPPORTED_WIRE_VERSION": "mongokey.common",
    "MIN_SUPPORTED_WIRE_VERSION": "mongokey.common",
    "DeleteMany": "mongokey.operations",
    "DeleteOne": "mongokey.operations",
    "InsertOne": "mongokey.operations",
    "ReplaceOne": "mongokey.operations",
    "UpdateMany": "mongokey.operations",
    "UpdateOne": "mongokey.operations",
    "MongoClient": "mongokey.mongo_client",
    "ReadPreference": "mongokey.read_preferences",
    "ReturnDocument": "mongokey.collection",
    "WriteConcern": "mongokey.write_concern",
    "has_c": "mongokey.bson",
    "install_as_pymongo": "mongokey.stand_in",
    "timeout": "mongokey.execution.time_limits",
    "uninstall_as_pymongo": "mongokey.stand_in",
}

# Also loaded when they are first used: `import mongokey; mongokey.errors` works as with PyMongo.
_SUBMODULES = (
    "aio",
    "asynchronous",
    "auth",
    "as_pymongo",
    "auth_oidc",
    "auth_oidc_shared",
    "auth_shared",
    "bson",
    "change_stream",
    "client_options",
    "client_session",
    "client_session_shared",
    "collation",
    "collection",
    "command_cursor",
    "commands",
    "common",
    "connection",
    "credentials",
    "crypt",
    "cursor",
    "cursor_shared",
    "database",
    "database_shared",
    "diagnostics",
    "dns",
    "driver_info",
    "encryption",
    "encryption_options",
    "encryption_shared",
    "errors",
    "event_loggers",
    "events",
    "execution",
    "faces",
    "gridfs",
    "handshake",
    "hello",
    "helpers_shared",
    "mongo_client",
    "monitoring",
    "operations",
    "options",
    "pool",
    "pool_options",
    "read_concern",
    "read_preferences",
    "results",
    "saslprep",
    "server_api",
    "server_description",
    "server_type",
    "sessions",
    "stand_in",
    "synchronous",
    "topology",
    "topology_description",
    "transport",
    "typings",
    "uri_parser",
    "uri_parser_shared",
    "wire",
    "write_concern",
)

version = __version__
version_tuple = tuple(int(part) for part in __version__.split("."))


def get_version_string() -> str:
    """The version of mongokey."""
    return __version__


__all__ = [
    "ASCENDING",
    "DESCENDING",
    "GEO2D",
    "GEOSPHERE",
    "HASHED",
    "MAX_SUPPORTED_WIRE_VERSION",
    "MIN_SUPPORTED_WIRE_VERSION",
    "TEXT",
    "AsyncMongoClient",
    "CursorType",
    "DeleteMany",
    "DeleteOne",
    "IndexModel",
    "InsertOne",
    "MongoClient",
    "ReadPreference",
    "ReplaceOne",
    "ReturnDocument",
    "UpdateMany",
    "UpdateOne",
    "WriteConcern",
    "__version__",
    "get_version_string",
    "has_c",
    "install_as_pymongo",
    "timeout",
    "uninstall_as_pymongo",
    "version",
    "version_tuple",
]


__getattr__ = loader(__name__, _HOMES, _SUBMODULES)


def __dir__() -> list[str]:
    return sorted((*__all__, *_SUBMODULES))
