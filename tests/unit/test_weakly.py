"""Methods whose object nobody keeps alive, of Python's classes and of compiled ones."""

from __future__ import annotations

import gc
from typing import Any
from weakref import ref

import pytest

from mongokey._support.weakly import weakly
from mongokey.execution.aio import LoopBinding


class Owner:
    def __init__(self) -> None:
        self.seen: list[Any] = []

    def note(self, value: int) -> None:
        self.seen.append(value)


def test_a_method_of_a_python_class() -> None:
    owner = Owner()
    call = weakly(owner.note)
    call(1)
    assert owner.seen == [1]
    gone = ref(owner)
    del owner
    gc.collect()
    assert gone() is None
    call(2)  # nothing


def test_a_method_of_a_compiled_class() -> None:
    calls: list[int] = []
    binding = LoopBinding(lambda: calls.append(1))
    call = weakly(binding.reset_after_fork)
    call()
    gone = ref(binding)
    del binding
    gc.collect()
    assert gone() is None
    call()


@pytest.mark.parametrize("what", [str, 1, lambda: None, Owner.note])
def test_what_is_no_bound_method_is_refused(what: Any) -> None:
    with pytest.raises(TypeError, match="bound method"):
        weakly(what)
