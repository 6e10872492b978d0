"""How a check looks in a terminal: a line for each step, the failed one opened, the verdict.

Knows layout, colour and the spinner, all by rich's rules (none under NO_COLOR or into a pipe). Must
not know how a step is carried out or what a cause means.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.text import Text

from mongokey.cli.check.report import (
    EXIT_NO_SERVER,
    EXIT_TIMEOUT,
    EXITS,
    FAILED,
    OK,
    SKIPPED,
    WARNED,
    Found,
    Report,
    Step,
)
from mongokey.cli.output import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

_WIDEST = 100
# Characters of a text; strings to be copied may be as long as a shell takes.
_LONGEST = 4000
_LONGEST_FIX = 200_000
_MOST_LINES = 24
# (in UTF-8, elsewhere, style)
_MARKS = {
    OK: ("✓", "ok", "green"),
    FAILED: ("✗", "FAILED", "bold red"),
    WARNED: ("!", "!", "yellow"),
    SKIPPED: ("-", "-", "dim"),
}
_WAITS = {
    "string": "reading the string",
    "dns": "asking for names",
    "tcp": "connecting",
    "tls": "TLS and the first message",
    "hello": "asking the servers what they are",
    "login": "logging in",
    "identity": "asking who that is",
    "read": "reading",
}
_VERDICTS = {
    EXITS["string"]: "The connection string, or an option, cannot be used as it is",
    EXITS["dns"]: "The hosts cannot be found by their names",
    EXITS["tcp"]: "No host can be reached",
    EXITS["tls"]: "TLS fails",
    EXITS["login"]: "The login fails",
    EXITS["read"]: "What is asked for is not allowed",
    EXIT_TIMEOUT: "The time ran out",
    EXIT_NO_SERVER: "No server does for what is asked",
}


class Printer:
    """Prints a check as it goes on: a `Listener`."""

    def __init__(self, console: Console, *, spinner: bool = True) -> None:
        self._console = console
        self._spins = spinner and console.is_terminal
        self._waiting: Status | None = None
        self._missed: list[str] = []
        self._utf8 = (console.encoding or "").lower().startswith("utf")

    def heading(self, string: str) -> None:
        """The string, masked, before anything is done."""
        self._console.print(Text(f"mongokey check {printable(string)}", style="bold"))
        self._console.print()

    def began(self, name: str) -> None:
        """A spinner while a step waits."""
        if self._spins:
            self._waiting = self._console.status(
                f"{name}: {_WAITS[name]}", spinner="dots" if self._utf8 else "line"
            )
            self._waiting.start()

    def ended(self, step: Step) -> None:
        """The step's line."""
        self.stop()
        if step.status == SKIPPED and not step.lines:
            self._missed.append(step.name)
        else:
            self._line(step)

    def stop(self) -> None:
        """Take the spinner away."""
        if self._waiting is not None:
            self._waiting.stop()
            self._waiting = None

    def _line(self, step: Step) -> None:
        sign, word, style = _MARKS[step.status]
        mark = sign if self._utf8 else f"{word:<6}"
        time = f"{step.milliseconds:.1f} ms" if step.status != SKIPPED else ""
        # Of a login the first line says it all; the others name and time each of its steps.
        shown = step.lines[: 1 if step.name == "login" else 8]
        if step.status == FAILED and not shown:
            shown = ["failed"]
        indent = len(mark) + 10 + 12
        lines = [piece for line in shown for piece in _wrapped(line, self._width - indent)]
        for number, line in enumerate(lines):
            text = Text()
            if number == 0:
                text.append(mark, style=style)
                text.append(f" {step.name:<9}", style="bold" if step.status == FAILED else "")
                text.append(f"{time:>10}  ", style="dim")
            else:
                text.append(" " * indent)
            text.append(line, style="dim" if step.status == SKIPPED else "")
            self._console.print(text)

    # -- the end --------------------------------------------------------------------------------

    def report(self, report: Report) -> None:
        """What the warnings are, the failed step opened, and the verdict."""
        self.stop()
        console = self._console
        if self._missed:
            mark = "-" if self._utf8 else f"{'-':<6}"
            console.print(Text(f"{mark} {', '.join(self._missed)}: not come to", style="dim"))
        for each in report.warnings:
            self._block("note", each.diagnosis.code, each, "yellow")
        if report.found:
            first, *others = report.found
            console.print()
            self._part("seen", _seen(first), "")
            self._part("means", [_means(first)], "bold")
            if first.fix:
                self._fix(first.fix)
            for other in others[:1]:
                text = _means(other)
                if other.fix:
                    text += f": {other.fix}"
                self._part("else", [text], "")
            if others[1:]:
                codes = ", ".join(each.diagnosis.code for each in others[1:])
                self._part("", [f"further: {codes}"], "dim")
        console.print()
        console.print(self._verdict(report))

    def _verdict(self, report: Report) -> Text:
        if report.ok:
            text = "All is well"
            identity = report.step("identity")
            if identity is not None and identity.lines:
                text = printable(_shortened(f"All is well: {identity.lines[0]}"))
            return Text(f"{text}.", style="bold green")
        said = Text(f"{_VERDICTS[report.exit]} ", style="bold red")
        said.append(f"(step {report.failed}, exit code {report.exit}).", style="red")
        if report.found:
            said.append(f" mongokey explain {report.found[0].diagnosis.code}", style="dim")
        return said

    def _block(self, title: str, code: str, found: Found, style: str) -> None:
        self._console.print()
        self._part(title, [_means(found)], style)
        for line in found.diagnosis.evidence:
            points = line.endswith("^") and not line[:-1].strip()
            self._part("", [line], "bold red" if points else "dim", wrap=False)
        if found.fix:
            self._fix(found.fix)

    @property
    def _width(self) -> int:
        """How wide prose may be."""
        wide = min(self._console.width, _WIDEST) if self._console.is_terminal else _WIDEST
        return max(wide, 60)

    def _fix(self, text: str) -> None:
        """What to do: a string in it is to be copied, and stays whole."""
        self._part("do", [text], "green", longest=_LONGEST_FIX)

    def _part(
        self,
        name: str,
        lines: Sequence[str],
        style: str,
        *,
        wrap: bool = True,
        longest: int = _LONGEST,
    ) -> None:
        title = name
        more = len(lines) - _MOST_LINES
        if more > 0:
            lines = [*lines[:_MOST_LINES], f"and {more} more"]
        for line in lines:
            pieces = (
                _wrapped(line, self._width - 9, longest)
                if wrap
                else [printable(_shortened(line, longest))]
            )
            for piece in pieces or [""]:
                text = Text(f"  {title:<6} ", style="bold" if title else "")
                text.append(piece, style=style or "default")
                self._console.print(text)
                title = ""


def _wrapped(line: str, width: int, longest: int = _LONGEST) -> list[str]:
    """A text in lines; what is one word, such as a string to be copied, stays one."""
    line = printable(_shortened(line, longest))
    return textwrap.wrap(line, width, break_on_hyphens=False, break_long_words=False)


def _shortened(text: str, longest: int = _LONGEST) -> str:
    """A text of which a server may have sent megabytes, up to a length that somebody may read."""
    more = len(text) - longest
    return text if more <= 0 else f"{text[:longest]}... ({more} characters more)"


def _means(found: Found) -> str:
    each = found.diagnosis
    return f"[{each.code}, {each.confidence}] {each.summary}"


def _seen(found: Found) -> list[str]:
    """The facts of a failure, before any cause is guessed, in a few lines."""
    facts: dict[str, Any] = found.facts
    lines = []
    who = []
    if "source" in facts:
        user = "no user given" if facts.get("user") is None else f"user {facts['user']!r}"
        who = [f"{user} in {facts['source']!r} from {facts['source_origin']}"]
        who.append(str(facts["mechanism"]))
        if "password_given" in facts:
            who.append(f"password sent: {'yes' if facts['password_given'] else 'no'}")
    if facts.get("host"):
        where = facts["host"]
        if facts.get("address") and not str(where).startswith(str(facts["address"])):
            where += f" ({facts['address']})"
        who.append(f"at {where}")
    elif facts.get("hosts"):
        who.append(f"at {', '.join(facts['hosts'])}")
    if "tls" in facts:
        who.append(f"TLS {'on' if facts['tls'] else 'off'}")
    if who:
        lines.append(", ".join(who))
    if facts.get("credential"):
        lines.append(facts["credential"])
    if facts.get("offered"):
        lines.append(f"the server offers this user {', '.join(map(str, facts['offered']))}")
    if facts.get("name_servers"):
        lines.append(f"name servers: {', '.join(facts['name_servers'])}")
    lines += [line for line in found.diagnosis.evidence if line not in lines]
    return lines or ["nothing more than the error itself"]


__all__ = ["Printer"]
