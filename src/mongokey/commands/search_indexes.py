"""Commands about the search indexes of a collection (index-management specification), and
`SearchIndexModel`, such an index as a value.

They take neither the collection's concerns nor its read preference.
"""

from __future__ import annotations

from mongokey._support.reprs import with_safe_repr
from mongokey._support.server_codes import NAMESPACE_NOT_FOUND
from mongokey.commands import arguments
from mongokey.commands.aggregate import aggregate_command
from mongokey.commands.command import Command, CursorCommand

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from mongokey.execution.operation import Namespace


@with_safe_repr
class SearchIndexModel:
    """A search index to create.

    :param definition: what is indexed and how, a document
    :param name: its name; the server's default is ``default``
    :param type: ``"search"`` or ``"vectorSearch"``; the server's default is ``"search"``
    :param kwargs: further fields of the index

    Raises `TypeError` for a definition that is no mapping and a name that is no str.
    """

    __slots__ = ("__document",)

    def __init__(
        self,
        definition: Mapping[str, Any],
        name: str | None = None,
        type: str | None = None,
        **kwargs: Any,
    ) -> None:
        arguments.check_mapping("definition", definition)
        document: dict[str, Any] = {}
        if name is not None:
            arguments.check_string("name", name)
            document["name"] = name
        document["definition"] = definition
        if type is not None:
            document["type"] = type
        self.__document = {**document, **kwargs}

    @property
    def document(self) -> Mapping[str, Any]:
        """The index as the ``createSearchIndexes`` command has it."""
        return self.__document

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__document.items())
        return f"{type(self).__name__}({shown})"


def search_index_model(model: Any) -> SearchIndexModel:
    """A `SearchIndexModel`; a document of its parameters becomes one."""
    if isinstance(model, SearchIndexModel):
        return model
    arguments.check_mapping("model", model)
    if "definition" not in model:
        raise TypeError(
            "the model of a search index is a mongokey.operations.SearchIndexModel or a document "
            "with a 'definition': it has none"
        )
    return SearchIndexModel(**model)


def create_search_indexes(
    namespace: Namespace, models: Sequence[Any], comment: Any, further: dict[str, Any]
) -> Command:
    """Create search indexes; the result is their names."""
    arguments.check_list("models", models)
    for each in models:
        if not isinstance(each, SearchIndexModel):
            arguments.refuse_type(
                "each of the models", "a mongokey.operations.SearchIndexModel", each
            )
    document = {
        "createSearchIndexes": namespace.collection,
        "indexes": [each.document for each in models],
    }
    arguments.add_options(document, further, comment)
    return Command(namespace, document, parse=_names_of_created)


def _names_of_created(reply: dict[str, Any]) -> list[str]:
    return [each["name"] for each in reply["indexesCreated"]]


def list_search_indexes(
    namespace: Namespace, name: str | None, comment: Any, further: dict[str, Any]
) -> CursorCommand:
    """A cursor over the search indexes: an aggregation with no concern."""
    described: dict[str, Any] = {}
    if name is not None:
        arguments.check_string("name", name)
        described["name"] = name
    document, batch_size, _, extras = aggregate_command(
        namespace.collection or 1, [{"$listSearchIndexes": described}], further, comment
    )
    return CursorCommand(
        namespace,
        document,
        batch_size=batch_size,
        get_more_extras=extras,
        retryable_read=True,
    )


def update_search_index(
    namespace: Namespace,
    name: str,
    definition: Mapping[str, Any],
    comment: Any,
    further: dict[str, Any],
) -> Command:
    """Replace the definition of a search index."""
    arguments.check_string("name", name)
    arguments.check_mapping("definition", definition)
    document = {
        "updateSearchIndex": namespace.collection,
        "name": name,
        "definition": definition,
    }
    return _without_missing_collection(namespace, document, comment, further)


def drop_search_index(
    namespace: Namespace, name: str, comment: Any, further: dict[str, Any]
) -> Command:
    """Drop a search index."""
    arguments.check_string("name", name)
    document = {"dropSearchIndex": namespace.collection, "name": name}
    return _without_missing_collection(namespace, document, comment, further)


def _without_missing_collection(
    namespace: Namespace, document: dict[str, Any], comment: Any, further: dict[str, Any]
) -> Command:
    """A command for which a collection that is not there is no error."""
    arguments.add_options(document, further, comment)
    command = Command(namespace, document)
    command.allow_errors([NAMESPACE_NOT_FOUND, "ns not found"])
    return command
