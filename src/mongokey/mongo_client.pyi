from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, TypeVar

from mongokey._support.address import Address
from mongokey.auth.login import LoginResult
from mongokey.bson.codec_options import CodecOptions, TypeRegistry
from mongokey.client_options import ClientOptions
from mongokey.cursor import CommandCursor
from mongokey.database import Database
from mongokey.driver_info import DriverInfo
from mongokey.execution.blocking_cores import BlockingClient
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import _ServerMode
from mongokey.transport.tls.context import ClientTLS
from mongokey.write_concern import WriteConcern

_Document = TypeVar("_Document", bound=Mapping[str, Any])

class MongoClient(BlockingClient[_Document]):
    HOST: str
    PORT: int

    def __init__(
        self,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        document_class: type[_Document] | None = None,
        tz_aware: bool | None = None,
        connect: bool | None = None,
        type_registry: TypeRegistry | None = None,
        **kwargs: Any,
    ) -> None: ...
    @property
    def options(self) -> ClientOptions: ...
    @property
    def address(self) -> Address: ...
    @property
    def primary(self) -> Address | None: ...
    @property
    def nodes(self) -> frozenset[Address]: ...
    @property
    def is_primary(self) -> bool: ...
    @property
    def is_mongos(self) -> bool: ...
    def _on_login(self, callback: Callable[[Address, LoginResult], Any]) -> None: ...
    @property
    def _tls(self) -> ClientTLS | None:
        """The client's ClientTLS, None without TLS; for tools and tests."""
    def append_metadata(self, driver_info: DriverInfo) -> None: ...
    def close(self) -> None: ...
    def __enter__(self) -> MongoClient[_Document]: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None: ...
    def __getitem__(self, name: str) -> Database[_Document]: ...
    def __getattr__(self, name: str) -> Database[_Document]: ...
    def get_database(
        self,
        name: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Database[_Document]: ...
    def get_default_database(
        self,
        default: str | None = None,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Database[_Document]: ...
    def server_info(self, session: None = None) -> dict[str, Any]: ...
    def list_databases(
        self, session: None = None, comment: Any = None, **kwargs: Any
    ) -> CommandCursor[dict[str, Any]]: ...
    def list_database_names(self, session: None = None, comment: Any = None) -> list[str]: ...
    def drop_database(
        self,
        name_or_database: str | Database[_Document],
        session: None = None,
        comment: Any = None,
    ) -> None: ...
