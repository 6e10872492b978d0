"""PyMongo's import paths of the asyncio classes.

They lead to the same classes as `mongokey` and `mongokey.aio`.
"""

from mongokey._support.lazy import loader

_SUBMODULES = (
    "change_stream",
    "client_session",
    "collection",
    "command_cursor",
    "cursor",
    "database",
    "encryption",
    "mongo_client",
    "uri_parser",
)

__getattr__ = loader(__name__, {}, _SUBMODULES)
