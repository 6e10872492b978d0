"""What `insert_many` was given, taken in parts: each document once, and none before its turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mongokey.bson import ObjectId
from mongokey.commands.collection_operations import documents_of, take_documents


def counted(made: list[int], count: int) -> Iterator[dict[str, Any]]:
    for number in range(count):
        made.append(number)
        yield {"n": number}


@pytest.mark.parametrize(("most", "parts"), [(1, [1, 1, 1]), (2, [2, 1]), (3, [3]), (4, [3])])
def test_documents_are_taken_in_parts(most: int, parts: list[int]) -> None:
    made: list[int] = []
    given = documents_of(counted(made, 3))
    taken: list[Any] = []
    identifiers: list[Any] = []
    for part in parts:
        before = len(taken)
        more = take_documents(given, taken, identifiers, most)
        assert len(taken) - before == part
        # Nobody was asked for a document that was not taken.
        assert len(made) == len(taken)
        # Fewer than were asked for: there are no more.
        assert more is (part == most)
    if parts[-1] == most:
        assert take_documents(given, taken, identifiers, most) is False
    assert [each["n"] for each in taken] == [0, 1, 2]
    assert identifiers == [each["_id"] for each in taken]
    assert all(type(each) is ObjectId for each in identifiers)


def test_none_are_taken_where_none_are_asked_for() -> None:
    made: list[int] = []
    assert take_documents(documents_of(counted(made, 2)), [], [], 0) is True
    assert made == []


def test_what_makes_the_documents_sees_the_identifier_of_the_one_before() -> None:
    seen: list[Any] = []

    def documents() -> Iterator[dict[str, Any]]:
        for number in range(3):
            document: dict[str, Any] = {"n": number}
            yield document
            seen.append(document["_id"])

    taken: list[Any] = []
    assert take_documents(documents_of(documents()), taken, [], 5) is False
    assert seen == [each["_id"] for each in taken]


def test_an_error_of_what_makes_the_documents_is_raised() -> None:
    def documents() -> Iterator[dict[str, Any]]:
        yield {}
        raise ZeroDivisionError

    taken: list[Any] = []
    with pytest.raises(ZeroDivisionError):
        take_documents(documents_of(documents()), taken, [], 5)
    assert len(taken) == 1
