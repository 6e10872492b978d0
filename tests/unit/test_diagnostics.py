"""A diagnosis and its registry: one shape, and a guide for each code that the sources use."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from pathlib import Path

import pytest

from mongokey.diagnostics import (
    CERTAIN,
    CODES,
    LIKELY,
    POSSIBLE,
    TABLE,
    Diagnosis,
    surest_first,
)
from mongokey.errors import MongoError, TLSError
from mongokey.options.uri_errors import diagnose, is_advice, is_deprecation

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "src" / "mongokey"
_AREAS = [
    "AUTH",
    "AWS",
    "DNS",
    "ENV",
    "KRB",
    "LDAP",
    "LOGIN",
    "OIDC",
    "OPTION",
    "SECRET",
    "SRV",
    "TCP",
    "TLS",
    "TOPOLOGY",
    "URI",
    "USERINFO",
    "X509",
]
CODE = re.compile(rf"({'|'.join(_AREAS)})(-[A-Z0-9]+)+")


def codes_in_sources() -> set[str]:
    """The string constants of the package that have the form of a code, wherever they stand."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        if path.parent.name == "diagnostics":
            continue
        constants = [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        found.update(filter(CODE.fullmatch, constants))
    return found


def test_every_code_that_the_sources_use_is_registered_and_no_other() -> None:
    assert codes_in_sources() == set(CODES)
    assert {"AUTH-PASSWORD-WRONG", "KRB-NO-TICKET", "TLS-HOST-NAME", "DNS-TIMEOUT"} <= set(CODES)
    assert all(CODE.fullmatch(code) for code in CODES)


def confidences_in_sources() -> set[tuple[str, str]]:
    """Code and confidence of each `Diagnosis(...)` that names both, or each of its choices."""
    found = set()
    for path in SOURCES.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            if not isinstance(node.func, ast.Name) or node.func.id != "Diagnosis":
                continue
            code, confidence = node.args[:2]
            if not isinstance(code, ast.Constant):
                continue
            for each in ast.walk(confidence):
                if isinstance(each, ast.Name) and each.id in ("CERTAIN", "LIKELY", "POSSIBLE"):
                    found.add((str(code.value), each.id.lower()))
    return found


def test_the_table_says_how_sure_each_cause_can_be() -> None:
    listed = confidences_in_sources()
    assert len(listed) > 80
    assert [each for each in sorted(listed) if each[1] not in TABLE[each[0]].sure] == []


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^a-z0-9 -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_stands_in_the_guide_that_it_names(code: str) -> None:
    name, _, anchor = CODES[code].partition("#")
    page = ROOT / name
    assert f"`{code}`" in page.read_text("utf-8"), f"{code} is not in {name}"
    assert anchor in anchors(page)


# The class


def test_a_diagnosis_says_what_it_is() -> None:
    made = Diagnosis("AUTH-PASSWORD-WRONG", LIKELY, "it is wrong", ["seen"], "set it anew")
    assert str(made) == "[AUTH-PASSWORD-WRONG, likely] it is wrong: set it anew"
    assert made.text == "it is wrong: set it anew"
    assert made.as_dict() == {
        "code": "AUTH-PASSWORD-WRONG",
        "confidence": "likely",
        "summary": "it is wrong",
        "evidence": ["seen"],
        "fix": "set it anew",
        "docs": "docs/errors.md#refused-logins",
    }
    assert Diagnosis("AUTH-CHANGED", POSSIBLE, "it is").text == "it is"


def test_a_diagnosis_is_immutable_and_equal_to_its_like() -> None:
    one = Diagnosis("AUTH-CHANGED", CERTAIN, "so", iter(["a", "b"]))
    two = Diagnosis("AUTH-CHANGED", CERTAIN, "so", ("a", "b"))
    assert one == two
    assert hash(one) == hash(two)
    assert one != two.replace(fix="do this")
    assert one != "AUTH-CHANGED"
    with pytest.raises(AttributeError, match="immutable"):
        one.code = "OTHER"
    with pytest.raises(AttributeError, match="immutable"):
        del one.code
    with pytest.raises(TypeError, match="no advice"):
        one.replace(advice="x")


def test_a_confidence_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="certain, likely, possible"):
        Diagnosis("AUTH-CHANGED", "perhaps", "so")


@pytest.mark.parametrize(
    "made",
    [
        Diagnosis("AUTH-CHANGED", CERTAIN, "so", ["seen"], "do this"),
        diagnose("OPTION-INVALID", "not a number", "maxPoolSize"),
    ],
)
def test_a_diagnosis_is_copied_and_pickled(made: Diagnosis) -> None:
    for again in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        assert type(again) is type(made)
        assert again == made


def test_the_surest_comes_first_and_the_order_stays_otherwise() -> None:
    each = [
        Diagnosis("AUTH-CHANGED", POSSIBLE, "a"),
        Diagnosis("AUTH-ATLAS", LIKELY, "b"),
        Diagnosis("AUTH-COSMOS", CERTAIN, "c"),
        Diagnosis("AUTH-NO-ROLE", LIKELY, "d"),
    ]
    assert [made.summary for made in surest_first(each)] == ["c", "b", "d", "a"]


# On errors


def test_errors_have_none_unless_somebody_found_some() -> None:
    assert MongoError("x").diagnoses == ()
    assert TLSError("x").diagnoses == ()
    assert TLSError("x").reason == "TLS-FAILED"
    made = Diagnosis("TLS-HOST-NAME", CERTAIN, "another name")
    error = TLSError("x", made, True)
    assert (error.diagnoses, error.reason, error.permanent) == ((made,), "TLS-HOST-NAME", True)
    assert pickle.loads(pickle.dumps(error)).diagnoses == (made,)


def test_a_diagnosis_of_a_string_names_its_option() -> None:
    made = diagnose("OPTION-INVALID", "not a number", "maxPoolSize")
    assert (made.option, made.evidence) == ("maxPoolSize", ("option maxPoolSize",))
    assert not is_advice(made)
    assert is_advice(diagnose("SECRET-BLANK", "a blank"))
    assert is_deprecation(diagnose("OPTION-DEPRECATED", "old"))
