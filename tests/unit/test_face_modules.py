"""The list of tests that run on both faces names only what there is, and says why."""

from __future__ import annotations

import re

from tests.faces import modules


def test_every_exception_is_a_module_or_test_that_speaks_of_clients() -> None:
    for name in (*modules.BLOCKING_ONLY, *modules.CHOSEN, *modules.WATCHED):
        path, _, test = name.partition("::")
        assert modules.speaks_of_clients(path), name
        if test:
            source = (modules.TESTS / f"{path}.py").read_text(encoding="utf-8")
            assert re.search(rf"^def {test}\b", source, re.MULTILINE), name


def test_every_exception_has_a_reason() -> None:
    for reason in (*modules.BLOCKING_ONLY.values(), *modules.CHOSEN.values()):
        assert len(reason.split()) > 3, reason


def test_modules_of_chosen_tests_have_some() -> None:
    for path in modules.CHOSEN:
        source = (modules.TESTS / f"{path}.py").read_text(encoding="utf-8")
        assert "both_faces" in source, path


def test_units_run_once() -> None:
    assert not modules.runs_on_both("unit/test_pool", "test_x", chosen=True)
