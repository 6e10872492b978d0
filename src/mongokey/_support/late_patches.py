"""Notices a program that gevent patches after the driver was loaded, and warns of it, once.

Knows how gevent says what it has patched. What was made before keeps the locks and threads of the
system, in which a wait stops all greenlets of its thread; nothing here can change that.
"""

from __future__ import annotations

import _thread
import sys

# What a lock is made by, as it was when the driver was loaded.
_allocate_lock = _thread.allocate_lock
_warned = False


def warn_of_late_patches() -> None:
    """Warn where gevent has patched locks since this module was loaded, which is with the first
    client class. `RuntimeWarning`, as gevent's own."""
    global _warned
    if "gevent.monkey" not in sys.modules or _warned:
        return
    if _thread.allocate_lock is _allocate_lock:
        return
    if not sys.modules["gevent.monkey"].is_module_patched("threading"):
        return  # somebody else's patch, such as a test's
    _warned = True

    import warnings

    from mongokey._support.warning_level import outside_level

    warnings.warn(
        "gevent.monkey.patch_all() was called after mongokey was imported: a wait in mongokey may "
        "stop all greenlets. Call it before anything else is imported.",
        RuntimeWarning,
        outside_level(),
    )


__all__ = ["warn_of_late_patches"]
