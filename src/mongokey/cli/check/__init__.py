"""`mongokey check`: logs in step by step, and says which known cause a failure has.

Knows the steps and the extra questions that tell causes apart once something has failed; the
causes themselves are in the table of `mongokey.diagnostics`. Needs neither click nor rich: what is
printed, `mongokey.cli.check_output` knows.
"""

from __future__ import annotations

from mongokey.cli.check.report import Found, Report, Step
from mongokey.cli.check.run import TIMEOUT_S, run_check

__all__ = ["TIMEOUT_S", "Found", "Report", "Step", "run_check"]
