"""GSSAPI (Kerberos): the rules of its credential.

Knows which options a Kerberos login takes (auth.md, "GSSAPI"); this version validates them and
does not converse.
"""

from __future__ import annotations

from mongokey.auth.mechanism import OPTIONAL, REQUIRED, Mechanism, Property, text

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

_CANONICALIZE = {
    "none": "none",
    "forward": "forward",
    "forwardAndReverse": "forwardAndReverse",
    # The older boolean forms.
    "true": "forwardAndReverse",
    "false": "none",
    True: "forwardAndReverse",
    False: "none",
}


def _canonicalize(value: Any) -> str:
    chosen = _CANONICALIZE.get(value) if isinstance(value, str | bool) else None
    if chosen is None:
        raise ValueError(f"{value!r} is not one of none, forward, forwardAndReverse, true, false")
    return chosen


GSSAPI = Mechanism(
    "GSSAPI",
    username=REQUIRED,
    password=OPTIONAL,
    external=True,
    properties={
        "SERVICE_NAME": Property(text),
        "SERVICE_REALM": Property(text),
        "SERVICE_HOST": Property(text),
        "CANONICALIZE_HOST_NAME": Property(_canonicalize),
    },
    default_properties={"SERVICE_NAME": "mongodb"},
)
