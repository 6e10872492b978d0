"""`Hello`: what a server says of itself, under PyMongo's import path.

The driver's own reading of it is `mongokey.handshake.reply`.
"""

from __future__ import annotations

from types import GenericAlias

from mongokey.handshake.reply import HelloReply
from mongokey.server_type import SERVER_TYPE

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    import datetime
    from collections.abc import Mapping
    from typing import Any

    from mongokey._support.address import Address
    from mongokey.bson.objectid import ObjectId

__all__ = ["Hello", "HelloCompat"]


class HelloCompat:
    """The names of the command hello and of its fields, today's and those before them."""

    CMD = "hello"
    LEGACY_CMD = "ismaster"
    PRIMARY = "isWritablePrimary"
    LEGACY_PRIMARY = "ismaster"
    LEGACY_ERROR = "not master"


class Hello:
    """A server's answer to hello.

    :param doc: the answer, a document
    :param awaitable: whether the server held it back until there was news; default False

    Raises `ProtocolError` for a document that no server sends.
    """

    __slots__ = ("_awaitable", "_doc", "_reply")

    @classmethod
    def __class_getitem__(cls, document: Any) -> GenericAlias:
        return GenericAlias(cls, document)

    def __init__(self, doc: Any, awaitable: bool = False) -> None:
        self._doc = doc
        self._awaitable = awaitable
        self._reply = HelloReply(doc)

    @property
    def document(self) -> dict[str, Any]:
        """The answer, a new dict."""
        return dict(self._doc)

    @property
    def server_type(self) -> int:
        """One of `mongokey.server_type.SERVER_TYPE`."""
        if not self._doc.get("ok"):
            return SERVER_TYPE.Unknown
        return int(getattr(SERVER_TYPE, self._reply.server_type))

    @property
    def all_hosts(self) -> set[Address]:
        """The members of the set that it knows: hosts, passives and arbiters."""
        return {*self._reply.hosts, *self._reply.passives, *self._reply.arbiters}

    @property
    def tags(self) -> Mapping[str, Any]:
        """The tags of a set's member."""
        found: Mapping[str, Any] = self._doc.get("tags", {})
        return found

    @property
    def primary(self) -> Address | None:
        """Which member it takes for the primary."""
        return self._reply.primary

    @property
    def replica_set_name(self) -> str | None:
        """The name of its replica set."""
        return self._reply.set_name

    @property
    def max_bson_size(self) -> int:
        """How many bytes a document may have."""
        return self._reply.max_bson_size

    @property
    def max_message_size(self) -> int:
        """How many bytes a message may have."""
        return self._reply.max_message_size

    @property
    def max_write_batch_size(self) -> int:
        """How many writes a message may have."""
        return self._reply.max_write_batch_size

    @property
    def min_wire_version(self) -> int:
        """The oldest version of the protocol that it speaks."""
        return self._reply.min_wire_version

    @property
    def max_wire_version(self) -> int:
        """The newest version of the protocol that it speaks."""
        return self._reply.max_wire_version

    @property
    def set_version(self) -> int | None:
        """The version of the set's configuration."""
        found: int | None = self._doc.get("setVersion")
        return found

    @property
    def election_id(self) -> ObjectId | None:
        """The id of the election that made it primary."""
        found: ObjectId | None = self._doc.get("electionId")
        return found

    @property
    def cluster_time(self) -> Mapping[str, Any] | None:
        """The cluster time that came with it."""
        found: Mapping[str, Any] | None = self._doc.get("$clusterTime")
        return found

    @property
    def logical_session_timeout_minutes(self) -> int | None:
        """How long it keeps an unused session."""
        return self._reply.logical_session_timeout_minutes

    @property
    def is_writable(self) -> bool:
        """Whether it takes writes."""
        return bool(self._doc.get("ok")) and self._reply.is_writable

    @property
    def is_readable(self) -> bool:
        """Whether it answers reads."""
        return bool(self._doc.get("ok")) and self._reply.is_readable

    @property
    def me(self) -> Address | None:
        """Its own address, as the set names it."""
        return self._reply.me

    @property
    def last_write_date(self) -> datetime.datetime | None:
        """When it wrote last."""
        found: datetime.datetime | None = self._doc.get("lastWrite", {}).get("lastWriteDate")
        return found

    @property
    def compressors(self) -> list[str] | None:
        """The compressors that it and the client have in common."""
        found: list[str] | None = self._doc.get("compression")
        return found

    @property
    def sasl_supported_mechs(self) -> list[str]:
        """The mechanisms that the user asked about can log in by."""
        return list(self._reply.sasl_supported_mechs or ())

    @property
    def speculative_authenticate(self) -> Mapping[str, Any] | None:
        """The answer to a login that was begun with it."""
        return self._reply.speculative_authenticate

    @property
    def topology_version(self) -> Mapping[str, Any] | None:
        """How new its picture of the deployment is."""
        return self._reply.topology_version

    @property
    def awaitable(self) -> bool:
        """Whether the server held it back until there was news."""
        return self._awaitable

    @property
    def service_id(self) -> ObjectId | None:
        """Which service behind a load balancer answered."""
        found: ObjectId | None = self._reply.service_id
        return found

    @property
    def hello_ok(self) -> bool:
        """Whether it takes the command hello, beside the older one."""
        return self._reply.hello_ok

    @property
    def connection_id(self) -> int | None:
        """Its number for the connection."""
        found = self._reply.connection_id
        return None if found is None else int(found)
