from typing import Any

from mongokey.bson.codec_options import CodecOptions
from mongokey.commands.command import CursorCommand
from mongokey.commands.inherited_options import InheritedOptions

class ClientBatch(CursorCommand):
    def __init__(
        self,
        options: InheritedOptions,
        models: list[Any],
        *,
        ordered: bool,
        errors_only: bool,
        extras: dict[str, Any] | None,
        get_more_extras: dict[str, Any] | None,
    ) -> None: ...
    def encode(self, room: int) -> bool:
        """Look at the next models, encode them and raise what is wrong with them; the first ones,
        as many as have room in so many bytes, are kept encoded. Returns whether there are more."""

    def done(self) -> bool:
        """The message's outcome is noted; returns whether operations are left."""

    def document_of(self, index: int) -> dict[str, Any]:
        """The operation at `index` as the document that was sent for it, for an error's `op`."""

    def command_of(self, index: int) -> str:
        """ "insert", "update" or "delete"."""

    @property
    def identifiers(self) -> list[Any] | None: ...
    @property
    def total(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def written(self) -> bool: ...
    @property
    def raw_results(self) -> bool: ...
    @property
    def plain_options(self) -> CodecOptions[dict[str, Any]]: ...
    @property
    def answer(self) -> dict[str, Any] | None: ...
    @property
    def unsettled(self) -> tuple[dict[str, Any], list[Any]] | None: ...
