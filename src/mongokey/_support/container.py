"""Whether this process runs in a container, where `localhost` is the container itself.

Knows the marks that container runtimes leave. Asked only once something has failed.
"""

from __future__ import annotations

import os

# Docker and Podman each leave a file in the root of a container.
MARKS = ("/.dockerenv", "/run/.containerenv")


def find_mark() -> str | None:
    """What tells that this is a container, for evidence; None where nothing does."""
    for mark in MARKS:
        if os.path.exists(mark):
            return f"{mark} exists"
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "KUBERNETES_SERVICE_HOST is set"
    return None


__all__ = ["find_mark"]
