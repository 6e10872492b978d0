"""What databases and collections have in common beside their options: both are parts of a
deployment that have a name.

It knows no commands. The faces' classes inherit from it.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any, TypeVar

    from mongokey.bson.codec_options import CodecOptions
    from mongokey.execution.execution import Executor
    from mongokey.read_concern import ReadConcern
    from mongokey.read_preferences import _ServerMode
    from mongokey.write_concern import WriteConcern

    _Self = TypeVar("_Self", bound="NamedPart")


class Alias:
    """Another name of an attribute. Objects can be given one of their own under that name, as those
    of a subclass are that is a mock, and leaves the constructor out."""

    __slots__ = ("_of",)

    def __init__(self, of: str) -> None:
        self._of = of

    def __get__(self, part: Any, owner: type | None = None) -> Any:
        return self if part is None else getattr(part, self._of)


class NamedPart:
    """Base of `Database` and `Collection`; `_whole` is what the part belongs to."""

    __slots__ = ()
    _kind = "part"

    if TYPE_CHECKING:

        def __init__(self, whole: Any, name: str, *options: Any, **more: Any) -> None: ...
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
        @property
        def _executor(self) -> Executor: ...
        def _carried_out_by(self: _Self, executor: Executor) -> _Self: ...
        def _limit_time(self: _Self, timeout_ms: float | None) -> _Self: ...

    @property
    def _whole(self) -> Any:
        return None

    # PyMongo's private name, for programs that know it.
    _name = Alias("name")

    # A part is nothing to iterate over, nor to `isinstance` of Iterable.
    __iter__ = None

    def with_options(
        self: _Self,
        codec_options: CodecOptions[Any] | None = None,
        read_preference: _ServerMode | None = None,
        write_concern: WriteConcern | None = None,
        read_concern: ReadConcern | None = None,
        *,
        timeout_ms: float | None = None,
    ) -> _Self:
        """The same with other options, where they are given.

        :param timeout_ms: how long each operation may take, in ms, in place of the timeoutMS that
            is inherited; 0: no limit. Raises `TypeError` and `ValueError` for what is none.
        """
        made = type(self)(
            self._whole,
            self.name,
            codec_options=codec_options or self.codec_options,
            read_preference=read_preference or self.read_preference,
            write_concern=write_concern or self.write_concern,
            read_concern=read_concern or self.read_concern,
        )
        return made._carried_out_by(self._executor)._limit_time(timeout_ms)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, NamedPart) and type(other)._kind == type(self)._kind:
            return bool(self._whole == other._whole and self.name == other.name)
        return NotImplemented

    def __hash__(self) -> int:
        return hash((self._whole, self.name))

    def __repr__(self) -> str:
        name = getattr(self, "name", None)  # one may be shown before it is made
        return f"{type(self).__name__}({self._whole!r}, {name!r})"

    def __bool__(self) -> bool:
        raise NotImplementedError(
            f"{type(self).__name__} objects do not implement truth value testing or bool(). "
            f"Please compare with None instead: {self._kind} is not None"
        )
