"""Connection strings and their options: the table of options, their checks, the grammar.

Text and values in, values out. Must not know sockets, DNS, or what a client does with an option.
"""

from __future__ import annotations

from mongokey._support.lazy import loader

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.options.connection_string import ConnectionString, DNSAnswer, SRVQuestion, parse
    from mongokey.options.table import OPTIONS, Option

__all__ = ["OPTIONS", "ConnectionString", "DNSAnswer", "Option", "SRVQuestion", "parse"]

__getattr__ = loader(
    __name__,
    dict.fromkeys(("OPTIONS", "Option"), "mongokey.options.table")
    | dict.fromkeys(
        ("ConnectionString", "DNSAnswer", "SRVQuestion", "parse"),
        "mongokey.options.connection_string",
    ),
)
