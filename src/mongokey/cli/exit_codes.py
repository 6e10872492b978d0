"""The command line's exit codes: 0 all was right, and 2 wrong usage, which is click's own."""

from __future__ import annotations

FAILED = 1  # something was wrong
NOT_INSTALLED = 3  # a package that the command needs is not there
INTERRUPTED = 130  # by Ctrl-C: 128 and the signal's number, as shells have it
