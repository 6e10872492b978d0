"""The check itself: its steps one after the other, up to the first that fails.

Knows the order, the clock and who is told; each step stands in a module of its own. Must not print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mongokey._support.secrets import keeps_secrets
from mongokey.cli.check.dns_step import check_dns
from mongokey.cli.check.hello_step import check_hello
from mongokey.cli.check.login_step import check_identity, check_login, check_read
from mongokey.cli.check.reach_step import check_tcp, check_tls
from mongokey.cli.check.report import FAILED, OK, SKIPPED, STEPS, Report, Step
from mongokey.cli.check.state import Listener, Silent, State, StepFailed
from mongokey.cli.check.string_step import check_string
from mongokey.cli.mistakes import mask
from mongokey.diagnostics import surest_first
from mongokey.transport.stream import monotonic_ns

#: How long a check may take altogether, in seconds.
TIMEOUT_S = 30.0

_STEPS: Mapping[str, Callable[[State, Step], None]] = {
    "string": check_string,
    "dns": check_dns,
    "tcp": check_tcp,
    "tls": check_tls,
    "hello": check_hello,
    "login": check_login,
    "identity": check_identity,
    "read": check_read,
}
assert tuple(_STEPS) == STEPS
# Steps whose lines, if they fail, do not tell that.
_TOLD_BY_CODE = frozenset({"string", "login", "identity", "read"})


@keeps_secrets
def run_check(
    uri: str,
    keywords: Mapping[str, Any] | None = None,
    *,
    timeout_s: float = TIMEOUT_S,
    all_hosts: bool = False,
    name_server: tuple[str, int] | None = None,
    from_shell: bool = False,
    fail_fast: bool = True,
    listener: Listener | None = None,
) -> Report:
    """Log in step by step, and say what became of each step and why one failed.

    :param uri: a connection string, or anything else that `MongoClient` takes as a host
    :param keywords: options that go before the string's, as `MongoClient` takes them
    :param timeout_s: seconds that all of it may take
    :param all_hosts: log in and read on every server with data, not on one only
    :param name_server: (address, port) of a DNS server to ask for everything
    :param from_shell: True if `uri` came through a shell, which has mistakes of its own
    :param fail_fast: False waits for a server that does, until `timeout_s` is over
    :param listener: is told of each step as it goes on

    Never raises for what it is given or finds: the report says it. The report holds no secret.
    """
    state = State(
        uri,
        keywords or {},
        timeout_s=timeout_s,
        all_hosts=all_hosts,
        name_server=name_server,
        from_shell=from_shell,
        fail_fast=fail_fast,
    )
    report = state.report = Report(mask(uri))
    listener = Silent() if listener is None else listener
    try:
        for name in STEPS:
            step = Step(name)
            report.steps.append(step)
            if report.failed is not None:
                listener.ended(step)
                continue
            listener.began(name)
            _carry_out(state, step)
            listener.ended(step)
    finally:
        state.close()
    order = surest_first(each.diagnosis for each in report.warnings)
    report.warnings.sort(key=lambda each: order.index(each.diagnosis))
    known = {each.diagnosis.code for each in report.found}
    report.warnings = [each for each in report.warnings if each.diagnosis.code not in known]
    return report


def _carry_out(state: State, step: Step) -> None:
    report = state.report
    step.status = OK
    began = monotonic_ns()
    try:
        _STEPS[step.name](state, step)
    except StepFailed as failed:
        step.status = FAILED
        report.failed = step.name
        if failed.found and (not step.lines or step.name in _TOLD_BY_CODE):
            step.lines.insert(0, f"failed: {failed.found[0].diagnosis.code}")
        report.timed_out = failed.timed_out
        order = surest_first(each.diagnosis for each in failed.found)
        report.found = sorted(failed.found, key=lambda each: order.index(each.diagnosis))
    finally:
        step.ns = monotonic_ns() - began
        if step.name == "hello" and step.status != SKIPPED:
            # The message itself was sent with the step before.
            step.ns += max((host.hello_ns for host in state.hosts.values()), default=0)


__all__ = ["TIMEOUT_S", "run_check"]
