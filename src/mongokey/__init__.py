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
    import mongokey.asynchronous.collection
    import mongokey.asynchronous.command_cursor
    import mongokey.asynchronous.cursor
    import mongokey.asynchronous.database
    import mongokey.asynchronous.mongo_client
    import mongokey.auth
    import mongokey.auth_oidc
    import mongokey.bson
    import mongokey.client_options
    import mongokey.collection
    import mongokey.command_cursor
    import mongokey.connection
    import mongokey.credentials
    import mongokey.cursor
    import mongokey.database
    import mongokey.dns
    import mongokey.driver_info
    import mongokey.errors
    import mongokey.handshake
    import mongokey.mongo_client
    import mongokey.operations
    import mongokey.options.connection_string
    import mongokey.options.table
    import mongokey.pool
    import mongokey.pool_options
    import mongokey.read_concern
    import mongokey.read_preferences
    import mongokey.results
    import mongokey.server_api
    import mongokey.sessions
    import mongokey.synchronous.collection
    import mongokey.synchronous.command_cursor
    import mongokey.synchronous.cursor
    import mongokey.synchronous.database
    import mongokey.synchronous.mongo_client
    import mongokey.topology
    import mongokey.transport
    import mongokey.uri_parser
    import mongokey.wire
    import mongokey.write_concern  # noqa: F401 - for the checker
    from mongokey.aio.mongo_client import AsyncMongoClient
    from mongokey.collection import ReturnDocument
    from mongokey.commands.arguments import ASCENDING, DESCENDING
    from mongokey.cursor import CursorType
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
}

# Also loaded when they are first used: `import mongokey; mongokey.errors` works as with PyMongo.
_SUBMODULES = (
    "aio",
    "asynchronous",
    "auth",
    "auth_oidc",
    "bson",
    "client_options",
    "client_session",
    "collection",
    "command_cursor",
    "commands",
    "connection",
    "credentials",
    "cursor",
    "database",
    "diagnostics",
    "dns",
    "driver_info",
    "errors",
    "event_loggers",
    "events",
    "execution",
    "faces",
    "handshake",
    "mongo_client",
    "monitoring",
    "operations",
    "options",
    "pool",
    "pool_options",
    "read_concern",
    "read_preferences",
    "results",
    "server_api",
    "server_description",
    "server_type",
    "sessions",
    "synchronous",
    "topology",
    "topology_description",
    "transport",
    "uri_parser",
    "wire",
    "write_concern",
)

version = __version__

__all__ = [
    "ASCENDING",
    "DESCENDING",
    "GEO2D",
    "GEOSPHERE",
    "HASHED",
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
    "version",
]


__getattr__ = loader(__name__, _HOMES, _SUBMODULES)


def __dir__() -> list[str]:
    return sorted((*__all__, *_SUBMODULES))
