"""The STS host that a server names, and its region (auth.md, "Region Calculation").

The host is only signed for and never contacted; what it may be is checked all the same, as it
goes into the signed text. Knows nothing of signing.
"""

from __future__ import annotations

import re

MAX_HOST = 255
GLOBAL_HOSTS = ("sts.amazonaws.com", "aws.amazonaws.com")
DEFAULT_REGION = "us-east-1"

# Letters, digits, hyphen (RFC 1035) and the underscore that is seen in private zones; a port
# behind a bare host does no harm. No label is empty.
_is_host = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?::[0-9]{1,5})?").fullmatch


def check_host(host: str) -> None:
    """Raises ValueError, saying what is wrong, unless `host` can be the name of a host."""
    if not host:
        raise ValueError("it is empty")
    if len(host.encode("utf-8", "replace")) > MAX_HOST:
        raise ValueError(f"it is longer than {MAX_HOST} bytes")
    if not all(host.split(".")):
        raise ValueError("it has an empty label")
    if _is_host(host) is None:
        raise ValueError("it has characters that no host name has")


def region_of(host: str) -> str:
    """The region in whose scope a request to `host` is signed. Raises ValueError as check_host."""
    check_host(host)
    if host in GLOBAL_HOSTS:
        return DEFAULT_REGION
    labels = host.split(".")
    return labels[1] if len(labels) > 1 else DEFAULT_REGION
