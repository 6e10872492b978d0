from typing import Any

from mongokey._support.child_names import ParentOfNames
from mongokey.bson.codec_options import CodecOptions
from mongokey.read_concern import ReadConcern
from mongokey.read_preferences import _ServerMode
from mongokey.write_concern import WriteConcern

class InheritedOptions:
    def __init__(
        self,
        codec_options: CodecOptions[Any],
        read_preference: _ServerMode,
        write_concern: WriteConcern,
        read_concern: ReadConcern,
    ) -> None: ...
    @property
    def codec_options(self) -> CodecOptions[Any]: ...
    @property
    def read_preference(self) -> _ServerMode: ...
    @property
    def write_concern(self) -> WriteConcern: ...
    @property
    def read_concern(self) -> ReadConcern: ...
    @property
    def unacknowledged(self) -> bool: ...

class OptionsHolder(ParentOfNames):
    @property
    def codec_options(self) -> CodecOptions[Any]: ...
    @property
    def read_preference(self) -> _ServerMode: ...
    @property
    def write_concern(self) -> WriteConcern: ...
    @property
    def read_concern(self) -> ReadConcern: ...
    @property
    def _inherited(self) -> InheritedOptions: ...
