"""Times as AWS writes them. Knows the forms; holds no clock."""

from __future__ import annotations

import re
from datetime import datetime, timezone

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any


def parse_time(value: Any) -> datetime | None:
    """The end of temporary keys, aware: from a datetime (naive is UTC), ISO 8601 text, or Unix
    seconds; None for None and "". Raises ValueError for anything else.
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        # Python 3.10 reads neither Z, nor UTC, nor other than 3 or 6 digits of a second.
        text = re.sub(r"\.[0-9]+", "", value.strip())
        value = datetime.fromisoformat(re.sub(r"(?i)\s*(?:Z|UTC)$", "+00:00", text))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return datetime.fromtimestamp(value, timezone.utc)
        except (OverflowError, OSError):
            raise ValueError(f"{value!r} is no time") from None
    if not isinstance(value, datetime):
        raise ValueError(f"a {type(value).__name__} is no time")
    return value if value.tzinfo is not None else value.replace(tzinfo=timezone.utc)
