"""Diagnoses: what most likely is wrong, how sure that is, what was seen, and what to do.

Knows the one shape of a cause, from a connection string to a command, and the one list of codes.
Must not know any cause: whoever finds one makes a `Diagnosis` of it.
"""

from __future__ import annotations

from mongokey.diagnostics.codes import CODES
from mongokey.diagnostics.diagnosis import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first

__all__ = ["CERTAIN", "CODES", "LIKELY", "POSSIBLE", "Diagnosis", "surest_first"]
