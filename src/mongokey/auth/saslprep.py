"""SASLprep (RFC 4013), the stringprep profile for passwords.

Knows the tables of RFC 3454 as the standard library has them; must not know what the string
is for. Errors never show the string or a character of it.
"""

from __future__ import annotations

from mongokey._support.lazy import late_imports


def saslprep(text: str, *, allow_unassigned: bool = False) -> str:
    """Prepare `text` for comparison, as RFC 4013 says.

    `allow_unassigned` treats it as a query, in which code points that Unicode 3.2 had not
    assigned may stand; the default is a stored string. Raises ValueError, naming the rule,
    when the string is not allowed.
    """
    # Printable ASCII maps to itself; this is nearly every password, and saves the tables.
    if text.isascii():
        if text.isprintable():
            return text
        raise ValueError("SASLprep: it contains a control character, which RFC 4013 prohibits")

    with late_imports:
        import stringprep
        from unicodedata import ucd_3_2_0

    # RFC 4013 section 2.1: other spaces become SPACE, "commonly mapped to nothing" vanishes.
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else c for c in text if not stringprep.in_table_b1(c)
    )
    prepared = ucd_3_2_0.normalize("NFKC", mapped)

    # RFC 4013 section 2.3.
    prohibited = (
        (stringprep.in_table_c12, "a space that is not ASCII's"),
        (stringprep.in_table_c21_c22, "a control character"),
        (stringprep.in_table_c3, "a private use character"),
        (stringprep.in_table_c4, "a non-character code point"),
        (stringprep.in_table_c5, "a surrogate"),
        (stringprep.in_table_c6, "a character not fit for plain text"),
        (stringprep.in_table_c7, "a character not fit for canonical representation"),
        (stringprep.in_table_c8, "a character that changes display or is deprecated"),
        (stringprep.in_table_c9, "a tagging character"),
    )
    for c in prepared:
        for in_table, name in prohibited:
            if in_table(c):
                raise ValueError(f"SASLprep: it contains {name}, which RFC 4013 prohibits")
        if not allow_unassigned and stringprep.in_table_a1(c):
            raise ValueError("SASLprep: it contains a code point that Unicode 3.2 does not assign")

    # RFC 3454 section 6.
    if any(map(stringprep.in_table_d1, prepared)):
        if any(map(stringprep.in_table_d2, prepared)):
            raise ValueError("SASLprep: it mixes right-to-left and left-to-right characters")
        if not (stringprep.in_table_d1(prepared[0]) and stringprep.in_table_d1(prepared[-1])):
            raise ValueError(
                "SASLprep: with right-to-left characters in it, it must begin and end with one"
            )
    return prepared
