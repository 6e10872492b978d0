"""How results look in a terminal: rich's tables and plain lines, one function for each thing.

Knows layout and colour (none under NO_COLOR or into a pipe, by rich's own rules); must not know
how a result came about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from mongokey.cli.demo import LoginStep, RefusalStep, WorkStep
    from mongokey.cli.explain import Explanation
    from mongokey.cli.explain_tls import TLSFacts
    from mongokey.diagnostics import Diagnosis
    from mongokey.diagnostics.entry import Entry

INDENT = "  "
# Of a bundle of authorities so many are listed.
_MOST_AUTHORITIES = 5


class SafeConsole(Console):
    """A console on which a text does nothing but stand there: servers and DNS say part of it."""

    def render_str(self, text: str, **options: Any) -> Text:
        """The text, with what a terminal would act on escaped."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **options)

    def __repr__(self) -> str:
        return "<SafeConsole>"


def make_console(*, quiet: bool = False, stderr: bool = False) -> Console:
    """A console that adds no colours of its own to numbers and paths; `quiet` prints nothing."""
    return SafeConsole(
        quiet=quiet, stderr=stderr, highlight=False, emoji=False, markup=False, soft_wrap=True
    )


def printable(text: str) -> str:
    """A text without what a terminal would act on, or cannot write: servers say part of it."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape", "surrogatepass").decode()
        for each in text
    )


def show_logins(console: Console, steps: Sequence[LoginStep]) -> None:
    """A line for each login."""
    table = _table("login", "keys", "mechanism", "round trips", "time")
    for column in (3, 4):
        table.columns[column].justify = "right"
    for step in steps:
        table.add_row(
            step.way.title,
            "warm" if step.warm else "cold",
            Text(step.result.mechanism or "none", style="" if step.problems else "green"),
            str(step.result.round_trips),
            f"{step.elapsed_ns / 1e6:.1f} ms",
        )
    _heading(console, "Logins", "a new connection each: connect, hello, login")
    console.print(Padding.indent(table, len(INDENT)))
    console.print(
        f"{INDENT}cold: the keys are derived from the password; warm: the client still has them"
    )


def show_work(console: Console, steps: Sequence[WorkStep]) -> None:
    """A line for what each client wrote and read."""
    table = _table("client", "inserted", "read back", "updated", "deleted", "left")
    for column in table.columns[1:]:
        column.justify = "right"
    for step in steps:
        counts = (step.inserted, step.read, step.updated, step.deleted, step.left)
        table.add_row(step.way.title, *map(str, counts))
    _heading(console, "Documents", "written and read after each login")
    console.print(Padding.indent(table, len(INDENT)))


def show_refusal(console: Console, step: RefusalStep) -> None:
    """What a wrong password gave."""
    _heading(console, "A wrong password", "gives an error that says what to do")
    if step.error is not None:
        name = type(step.error).__name__
        console.print(f"{INDENT}{name} (code {step.error.code}): {step.error}")


def show_explanation(console: Console, explanation: Explanation) -> None:
    """The whole of `mongokey explain`."""
    login = explanation.login
    lines: list[tuple[str, str]] = []
    if explanation.srv_name is not None and explanation.dns is None:
        lines.append(("hosts", f"asked of DNS: the SRV records of {explanation.srv_name}"))
        lines.append(("", "a TXT record may add authSource, replicaSet and loadBalanced"))
    for number, host in enumerate(explanation.hosts):
        lines.append(("" if number else "hosts", host))
    if login is None:
        lines.append(("login", "none: no user and no authMechanism"))
    else:
        user = "none given" if login.username is None else repr(login.username)
        lines.append(("user", user))
        lines.append(("password", "given" if login.password_given else "not given"))
        lines.append(("mechanism", login.how))
        lines.extend(("", f"{name}: {value}") for name, value in login.properties.items())
        lines.append(("authSource", f"{login.source} (from {login.source_origin})"))
    lines.append(("database", explanation.database or "none: the path names no default database"))
    lines.append(("TLS", "on" if explanation.tls else "off"))
    if explanation.tls_facts is not None:
        lines.extend(_tls_lines(explanation.tls_facts))
    _grid(console, explanation.uri, lines)

    if explanation.options:
        table = _table("option", "value", "from")
        for option in explanation.options:
            table.add_row(option.name, _word(option.value), option.origin)
        _heading(console, "Options", "")
        console.print(Padding.indent(table, len(INDENT)))
    if explanation.dns is not None:
        table = _table("question", "name server", "over", "answer", "time")
        table.columns[4].justify = "right"
        for query in explanation.dns.queries:
            table.add_row(
                query.question,
                query.server,
                query.transport,
                query.outcome,
                f"{query.milliseconds:.1f} ms",
            )
        remark = f"to be asked again after {explanation.dns.poll_interval_s:g} s"
        _heading(console, "DNS", remark)
        console.print(Padding.indent(table, len(INDENT)))
    show_mistakes(console, explanation.mistakes)
    named = {mistake.code for mistake in explanation.mistakes}
    findings = [finding for finding in explanation.findings if finding.code not in named]
    if findings:
        _heading(console, "Warnings", "")
        for finding in findings:
            console.print(f"{INDENT}{finding}")


def _tls_lines(tls: TLSFacts) -> list[tuple[str, str]]:
    """The client's certificate, whom it trusts, and what is wrong with the files."""
    lines = []
    if tls.certificate is not None:
        shown = tls.certificate
        lines.append(("certificate", shown.subject))
        lines.append(("", f"issued by {shown.issuer}, valid until {shown.valid_until}"))
    lines.append(("trusted", tls.trust))
    for authority in tls.authorities[:_MOST_AUTHORITIES]:
        over = "expired on" if authority.expired else "valid until"
        lines.append(("", f"{authority.subject}, {over} {authority.valid_until}"))
    more = len(tls.authorities) - _MOST_AUTHORITIES
    if more > 0:
        lines.append(("", f"and {more} more"))
    if tls.problem is not None:
        lines.append(("WRONG", tls.problem))
    return lines


def show_code(console: Console, entry: Entry) -> None:
    """The long form of one diagnosis."""
    console.print(Text(entry.code, style="bold"))
    console.print(f"{INDENT}{entry.means}")
    console.print()
    for name, text in (
        ("sure", entry.sure),
        ("seen", entry.seen),
        ("do", entry.fix),
        ("more", entry.docs),
    ):
        console.print(f"{INDENT}{name:<4}  {text}", style="green" if name == "do" else None)


def show_codes(console: Console, areas: Mapping[str, Sequence[Entry]]) -> None:
    """All codes, by area."""
    width = max(len(each.code) for entries in areas.values() for each in entries)
    for area, entries in areas.items():
        _heading(console, area, "")
        for each in entries:
            console.print(f"{INDENT}{each.code:<{width}}  {each.means}")


def show_mistakes(console: Console, mistakes: Sequence[Diagnosis]) -> None:
    """What is probably not meant so, where, and the string put right."""
    if not mistakes:
        return
    _heading(console, "Look at", "what is, or may be, not meant so")
    fix = ""
    for mistake in mistakes:
        console.print(f"{INDENT}[{mistake.code}, {mistake.confidence}] {mistake.summary}")
        for line in mistake.evidence:
            points = line.endswith("^") and not line[:-1].strip()
            console.print(f"{INDENT * 2}{line}", style="bold red" if points else None)
        if mistake.fix and mistake.fix != fix:
            fix = mistake.fix
            console.print(f"{INDENT * 2}help: {fix}", style="green")


def _word(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ", ".join(map(_word, value)) or "none"
    return str(value)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for heading in headings:
        table.add_column(heading, no_wrap=True)
    return table


def _heading(console: Console, title: str, remark: str) -> None:
    console.print()
    console.print(Text.assemble((title, "bold"), f": {remark}" if remark else ""))


def _grid(console: Console, title: str, lines: Sequence[tuple[str, str]]) -> None:
    console.print(Text(printable(title), style="bold"))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        console.print(f"{INDENT}{name:<{width}}  {value}")
