from typing import Any

from mongokey.commands.inherited_options import InheritedOptions
from mongokey.commands.write_requests import Run
from mongokey.execution.operation import Namespace, Operation

def new_result() -> dict[str, Any]: ...
def encode_statements(run: Run, options: InheritedOptions, room: int) -> bool:
    """Encode the next statements of `run`, and raise what that raises; as many of them as have room
    in so many bytes are kept, in `run.encoded`. Returns whether there are more."""

def unanswered_needs_of(
    groups: list[Run], bypass_document_validation: bool | None
) -> tuple[int, str, str] | None: ...

class EncodedStatements:
    """Statements of one `Run` that were encoded before anything was sent, the first of them."""

    size: int

class Batch(Operation):
    def __init__(
        self,
        namespace: Namespace,
        options: InheritedOptions,
        run: Run,
        ordered: bool,
        extras: dict[str, Any] | None,
        *,
        result: dict[str, Any],
        refusals: list[Exception],
        needs: tuple[int, str, str] | None = None,
        last: bool = True,
        operation_id: int = 0,
    ) -> None: ...
    @property
    def command(self) -> bytes: ...
    @property
    def statements(self) -> list[Any]: ...
    @property
    def result(self) -> dict[str, Any]: ...
    @property
    def more(self) -> bool: ...
    def note_unsettled(self) -> int: ...
