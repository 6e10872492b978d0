"""SCRAM's messages as C reads them, beside the grammar of RFC 5802 as regular expressions."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mongokey.auth import sasl
from mongokey.auth.scram_keys import Keys, derive_keys
from mongokey.auth.scram_keys import hmac as our_hmac
from mongokey.auth.scram_steps import ScramSteps, read_server_final, read_server_first

# RFC 5802 section 7, server-first-message without reserved-mext, and server-final-message.
FIRST = re.compile(
    rb"r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/]+={0,2}),i=([1-9][0-9]{0,18})(?:,[A-Za-z]=[^,\0]+)*"
)
FINAL = re.compile(rb"(?:v=([A-Za-z0-9+/]+={0,2})|e=([^,\0]+))(?:,[A-Za-z]=[^,\0]+)*")


def first_by_grammar(message: bytes) -> tuple[bytes, bytes, int] | None:
    match = FIRST.fullmatch(message)
    return None if match is None else (match[1], match[2], int(match[3]))


def final_by_grammar(message: bytes) -> tuple[bytes | None, bytes | None] | None:
    match = FINAL.fullmatch(message)
    return None if match is None else (match[1], match[2])


# Pieces that stand in such messages, and what is next to them.
PIECES = st.sampled_from(
    [
        *(b"r=", b"s=", b"i=", b"v=", b"e=", b"x=", b"9=", b"=", b"==", b"===", b",", b",,"),
        *(b"abc", b"+/09", b"0", b"1", b"4096", b"9" * 18, b"9" * 19, b"9" * 20, b" ", b"\0"),
        *(b"\n", b"\x7f", b"\x80", b"\x21", b"!", b"~", b"m=x", b"", b"-", b"%"),
        *(b"r=abc,s=abcd,i=4096", b"v=abcd", b"e=other-error", b",x=y", b",x=", b",xy=z"),
    ]
)


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=12).map(b"".join))
@example(b"r=a,s=b,i=1")
@example(b"r=a,s=b==,i=9999999999999999999")
@example(b"r=a,s=b,i=10000000000000000000")
@example(b"r=a,s=b===,i=1")
@example(b"r=a,s=b,i=01")
@example(b"r=a,s=b,i=1,")
@example(b"r=a,s=b,i=1,x=")
@example(b"r=a,s=b,i=1,x=1\n,y=2")
@example(b"v=")
@example(b"v=a,e=b")
@example(b"e=")
@example(b"e=a\0")
def test_messages_mean_what_the_grammar_says(message: bytes) -> None:
    assert read_server_first(message) == first_by_grammar(message)
    assert read_server_final(message) == final_by_grammar(message)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_of_any_kind_are_read_or_refused(message: bytes) -> None:
    for prefix in (b"", b"r=", b"r=a,s=b", b"r=a,s=b,i=1", b"v=", b"v=a", b"e="):
        whole = prefix + message
        assert read_server_first(whole) == first_by_grammar(whole)
        assert read_server_final(whole) == final_by_grammar(whole)


@pytest.mark.parametrize("cut", range(40))
def test_a_message_that_is_cut_is_not_read_past_its_end(cut: int) -> None:
    whole = b"r=nonceNONCE,s=c2FsdHNhbHQ=,i=4096,x=more,y=z"
    assert read_server_first(whole[:cut]) == first_by_grammar(whole[:cut])


@pytest.mark.parametrize("digest", ["sha256", "sha1"])
@given(message=st.binary(max_size=300))
@settings(max_examples=100, deadline=None)
def test_proofs_and_signatures_are_the_base64_of_their_bytes(digest: str, message: bytes) -> None:
    keys = derive_keys(digest, b"pencil", b"saltsalt", 4096)
    proof = base64.b64decode(keys.prove(message), validate=True)
    assert base64.b64encode(proof) == keys.prove(message)
    assert len(proof) == (32 if digest == "sha256" else 20)
    server_key = our_hmac(digest, salted(digest), b"Server Key")
    signature = base64.b64encode(our_hmac(digest, server_key, message))
    assert keys.verify(message, signature)
    for wrong in (signature[:-1], signature + b"=", signature.swapcase(), b""):
        assert wrong == signature or not keys.verify(message, wrong)


def salted(digest: str) -> bytes:
    from mongokey.auth.scram_keys import pbkdf2

    return pbkdf2(digest, b"pencil", b"saltsalt", 4096)


def test_objects_that_nobody_should_make_do_nothing() -> None:
    with pytest.raises(TypeError):
        Keys()
    steps = ScramSteps.__new__(ScramSteps)
    with pytest.raises(RuntimeError, match="sent nothing"):
        steps._next({})
    with pytest.raises(RuntimeError, match="not this conversation's"):
        steps._resumed(None)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="__init__ was not called"):
        steps.start()
    with pytest.raises(TypeError):
        sasl.proceed(None, b"")  # type: ignore[arg-type]
    for call in (read_server_first, read_server_final):
        for wrong in (None, "text", bytearray(b"r=a")):
            with pytest.raises(TypeError):
                call(wrong)  # type: ignore[arg-type]
