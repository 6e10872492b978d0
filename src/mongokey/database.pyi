from collections.abc import Collection as AbstractCollection
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from mongokey.bson.codec_options import CodecOptions
from mongokey.bson.dbref import DBRef
from mongokey.collection import Collection
from mongokey.cursor import CommandCursor
from mongokey.mongo_client import MongoClient
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import _ServerMode
from mongokey.write_concern import WriteConcern

_Document = TypeVar("_Document", bound=Mapping[str, Any])

def element(name: str, document: Mapping[str, Any] | None) -> bytes | None: ...
def read_preference_element(preference: _ServerMode) -> bytes | None: ...

class Database(Generic[_Document]):
    def __init__(
        self,
        client: MongoClient[_Document],
        name: str,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> None: ...
    @property
    def client(self) -> MongoClient[_Document]: ...
    @property
    def name(self) -> str: ...
    @property
    def codec_options(self) -> CodecOptions[Any]: ...
    @property
    def read_preference(self) -> _ServerMode: ...
    @property
    def write_concern(self) -> WriteConcern: ...
    @property
    def read_concern(self) -> ReadConcern: ...
    def __getitem__(self, name: str) -> Collection[_Document]: ...
    def __getattr__(self, name: str) -> Collection[_Document]: ...
    def get_collection(
        self,
        name: str,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Collection[_Document]: ...
    def with_options(
        self,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Database[_Document]: ...
    def command(
        self,
        command: str | Mapping[str, Any],
        value: Any = 1,
        check: bool = True,
        allowable_errors: AbstractCollection[int | str] | None = None,
        read_preference: _ServerMode | None = None,
        codec_options: CodecOptions[Any] | None = None,
        session: None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]: ...
    def cursor_command(
        self,
        command: str | Mapping[str, Any],
        value: Any = 1,
        read_preference: _ServerMode | None = None,
        codec_options: CodecOptions[Any] | None = None,
        session: None = None,
        comment: Any = None,
        max_await_time_ms: int | None = None,
        **kwargs: Any,
    ) -> CommandCursor[Any]: ...
    def aggregate(
        self, pipeline: Sequence[Mapping[str, Any]], session: None = None, **kwargs: Any
    ) -> CommandCursor[Any]: ...
    def create_collection(
        self,
        name: str,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
        session: None = None,
        check_exists: bool = True,
        **kwargs: Any,
    ) -> Collection[_Document]: ...
    def list_collections(
        self,
        session: None = None,
        filter: Mapping[str, Any] | None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> CommandCursor[dict[str, Any]]: ...
    def list_collection_names(
        self,
        session: None = None,
        filter: Mapping[str, Any] | None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> list[str]: ...
    def drop_collection(
        self,
        name_or_collection: str | Collection[_Document],
        session: None = None,
        comment: Any = None,
        encrypted_fields: None = None,
    ) -> dict[str, Any]: ...
    def dereference(
        self, dbref: DBRef, session: None = None, comment: Any = None, **kwargs: Any
    ) -> _Document | None: ...
