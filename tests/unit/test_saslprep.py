"""SASLprep against RFC 4013 section 3 and the tables of RFC 3454."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mongokey.auth.saslprep import saslprep


@pytest.mark.parametrize(
    ("given_text", "prepared"),
    [
        ("I\u00adX", "IX"),  # SOFT HYPHEN mapped to nothing
        ("user", "user"),
        ("USER", "USER"),  # case preserved
        ("\u00aa", "a"),  # NFKC
        ("\u2168", "IX"),  # NFKC
        ("\u2163", "IV"),
        ("a\u00a0b", "a b"),  # non-ASCII space
        ("p\u00e4ss", "p\u00e4ss"),
        ("pa\u0308ss", "p\u00e4ss"),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),  # right-to-left at both ends
        ("", ""),
        ("\u00ad", ""),
        (" ~", " ~"),
    ],
)
def test_maps_and_normalizes(given_text, prepared):
    assert saslprep(given_text) == prepared


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("\u0007", "control character"),
        ("secret\n", "control character"),
        ("\u00e4\u0007", "control character"),
        ("\u00e4\u0080", "control character"),
        ("\u0627\u0031", "begin and end"),
        ("\u0627a\u0628", "mixes"),
        ("a\u0627", "mixes"),
        ("\u0031\u0627", "begin and end"),
        ("\ue000", "private use"),
        ("\ufffe", "non-character"),
        ("\ud800", "surrogate"),
        ("\ufffd", "plain text"),
        ("\u2ff0", "canonical representation"),
        ("\u200e", "display"),
        ("\U000e0001", "tagging"),
        ("\u0221", "Unicode 3.2"),
    ],
)
def test_refuses_what_rfc_4013_prohibits_and_names_the_rule(text, rule):
    with pytest.raises(ValueError, match=rule) as caught:
        saslprep(text)
    assert text not in str(caught.value)


def test_unassigned_code_points_may_stand_in_a_query():
    assert saslprep("\u0221", allow_unassigned=True) == "\u0221"


@given(st.text())
def test_preparing_twice_is_preparing_once(text):
    try:
        once = saslprep(text)
    except ValueError:
        return
    assert saslprep(once) == once


def test_ascii_needs_no_tables():
    code = (
        "import sys; from mongokey.auth.saslprep import saslprep; saslprep('pencil');"
        "print('stringprep' in sys.modules)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.strip() == "False"
