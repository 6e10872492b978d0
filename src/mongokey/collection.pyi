from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from mongokey.bson.codec_options import CodecOptions
from mongokey.cursor import CommandCursor, Cursor
from mongokey.database import Database
from mongokey.operations import (
    DeleteMany,
    DeleteOne,
    IndexModel,
    InsertOne,
    ReplaceOne,
    UpdateMany,
    UpdateOne,
)
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import _ServerMode
from mongokey.results import (
    BulkWriteResult,
    DeleteResult,
    InsertManyResult,
    InsertOneResult,
    UpdateResult,
)
from mongokey.write_concern import WriteConcern

_Document = TypeVar("_Document", bound=Mapping[str, Any])
_Keys = str | Sequence[str | tuple[str, Any]] | Mapping[str, Any]

class ReturnDocument:
    BEFORE: bool
    AFTER: bool

class Collection(Generic[_Document]):
    def __init__(
        self,
        database: Database[_Document],
        name: str,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> None: ...
    @property
    def database(self) -> Database[_Document]: ...
    @property
    def name(self) -> str: ...
    @property
    def full_name(self) -> str: ...
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
    def with_options(
        self,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
    ) -> Collection[_Document]: ...
    def insert_one(
        self,
        document: Any,
        bypass_document_validation: bool | None = None,
        session: None = None,
        comment: Any = None,
    ) -> InsertOneResult: ...
    def insert_many(
        self,
        documents: Iterable[Any],
        ordered: bool = True,
        bypass_document_validation: bool | None = None,
        session: None = None,
        comment: Any = None,
    ) -> InsertManyResult: ...
    def bulk_write(
        self,
        requests: list[InsertOne | UpdateOne | UpdateMany | ReplaceOne | DeleteOne | DeleteMany],
        ordered: bool = True,
        bypass_document_validation: bool | None = None,
        session: None = None,
        comment: Any = None,
        let: Mapping[str, Any] | None = None,
    ) -> BulkWriteResult: ...
    def update_one(
        self,
        filter: Mapping[str, Any],
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        upsert: bool = False,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        sort: _Keys | None = None,
        comment: Any = None,
    ) -> UpdateResult: ...
    def update_many(
        self,
        filter: Mapping[str, Any],
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        upsert: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
    ) -> UpdateResult: ...
    def replace_one(
        self,
        filter: Mapping[str, Any],
        replacement: Mapping[str, Any],
        upsert: bool = False,
        bypass_document_validation: bool | None = None,
        collation: Any = None,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        sort: _Keys | None = None,
        comment: Any = None,
    ) -> UpdateResult: ...
    def delete_one(
        self,
        filter: Mapping[str, Any],
        collation: Any = None,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
    ) -> DeleteResult: ...
    def delete_many(
        self,
        filter: Mapping[str, Any],
        collation: Any = None,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
    ) -> DeleteResult: ...
    def find_one(self, filter: Any = None, *args: Any, **kwargs: Any) -> _Document | None: ...
    def find(self, *args: Any, **kwargs: Any) -> Cursor[_Document]: ...
    def count_documents(
        self, filter: Mapping[str, Any], session: None = None, comment: Any = None, **kwargs: Any
    ) -> int: ...
    def estimated_document_count(self, comment: Any = None, **kwargs: Any) -> int: ...
    def distinct(
        self,
        key: str,
        filter: Any = None,
        session: None = None,
        comment: Any = None,
        hint: _Keys | None = None,
        **kwargs: Any,
    ) -> list[Any]: ...
    def aggregate(
        self,
        pipeline: Sequence[Mapping[str, Any]],
        session: None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> CommandCursor[Any]: ...
    def find_one_and_delete(
        self,
        filter: Mapping[str, Any],
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        sort: _Keys | None = None,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> _Document | None: ...
    def find_one_and_replace(
        self,
        filter: Mapping[str, Any],
        replacement: Mapping[str, Any],
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        sort: _Keys | None = None,
        upsert: bool = False,
        return_document: bool = False,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> _Document | None: ...
    def find_one_and_update(
        self,
        filter: Mapping[str, Any],
        update: Mapping[str, Any] | Sequence[Mapping[str, Any]],
        projection: Mapping[str, Any] | Sequence[str] | None = None,
        sort: _Keys | None = None,
        upsert: bool = False,
        return_document: bool = False,
        array_filters: Sequence[Mapping[str, Any]] | None = None,
        hint: _Keys | None = None,
        session: None = None,
        let: Mapping[str, Any] | None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> _Document | None: ...
    def drop(
        self,
        session: None = None,
        comment: Any = None,
        encrypted_fields: None = None,
    ) -> None: ...
    def rename(
        self, new_name: str, session: None = None, comment: Any = None, **kwargs: Any
    ) -> dict[str, Any]: ...
    def options(self, session: None = None, comment: Any = None) -> dict[str, Any]: ...
    def create_index(
        self, keys: _Keys, session: None = None, comment: Any = None, **kwargs: Any
    ) -> str: ...
    def create_indexes(
        self,
        indexes: Sequence[IndexModel],
        session: None = None,
        comment: Any = None,
        **kwargs: Any,
    ) -> list[str]: ...
    def drop_index(
        self, index_or_name: _Keys, session: None = None, comment: Any = None, **kwargs: Any
    ) -> None: ...
    def drop_indexes(self, session: None = None, comment: Any = None, **kwargs: Any) -> None: ...
    def list_indexes(
        self, session: None = None, comment: Any = None
    ) -> CommandCursor[dict[str, Any]]: ...
    def index_information(
        self, session: None = None, comment: Any = None
    ) -> dict[str, dict[str, Any]]: ...
