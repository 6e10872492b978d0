"""What a client traced, and whether it is what a test expects ("expectTracingMessages").

It knows OpenTelemetry's SDK, whose spans stay in memory, and how they are nested.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from tests.conformance.unified.drivers import Driver, RunnerError, only
from tests.conformance.unified.matching import Matcher, Mismatch
from tests.tracing import Traces

#: So much of a command is enough for all that the tests look at.
TEXT_LENGTH = 100_000


class SpanCollector:
    """Keeps the spans of one client."""

    def __init__(self, driver: Driver, observed: Mapping[str, Any]) -> None:
        if driver.name != "mongokey":
            raise RunnerError(f"{driver.name} has no tracing")
        only(observed, "enableCommandPayload")
        self.driver = driver
        self.traces = Traces()
        self.option = {
            "enabled": True,
            "tracer_provider": self.traces.provider,
            "query_text_max_length": TEXT_LENGTH if observed.get("enableCommandPayload") else 0,
        }


def check_spans(matcher: Matcher, spans: SpanCollector, expectation: Mapping[str, Any]) -> None:
    """Raise `Mismatch` unless a client's spans are those of an expectTracingMessages."""
    only(expectation, "client", "spans", "ignoreExtraSpans")
    checker = _Checker(matcher, spans, bool(expectation.get("ignoreExtraSpans", False)))
    checker.check(expectation["spans"], spans.traces.roots(), "spans")


class _Checker:
    def __init__(self, matcher: Matcher, spans: SpanCollector, ignores_extra: bool) -> None:
        self._matcher = matcher
        self._spans = spans
        self._ignores_extra = ignores_extra

    def check(self, expected: Sequence[Mapping[str, Any]], actual: list[Any], path: str) -> None:
        left = list(actual)
        for position, each in enumerate(expected):
            place = f"{path}[{position}]"
            reasons = []
            while left:
                span = left.pop(0)
                try:
                    self._check_one(each, span, place)
                    break
                except Mismatch as error:
                    if not self._ignores_extra:
                        raise
                    reasons.append(str(error))
            else:
                shown = [span.name for span in actual]
                raise Mismatch(f"{place}: {each['name']!r} is not among {shown}: {reasons}")
        if left and not self._ignores_extra:
            raise Mismatch(f"{path}: unexpected spans: {[span.name for span in left]}")

    def _check_one(self, expected: Mapping[str, Any], span: Any, path: str) -> None:
        only(expected, "name", "attributes", "nested")
        self._matcher.match(expected["name"], span.name, path=f"{path}.name")
        if span.kind.name != "CLIENT":
            raise Mismatch(f"{path}: the span's kind is {span.kind.name}")
        # OpenTelemetry's integers have 64 bits.
        long = self._spans.driver.bson.int64.Int64
        attributes = {
            name: long(value) if type(value) is int else value
            for name, value in span.attributes.items()
        }
        if "db.mongodb.lsid" in attributes:
            session = UUID(attributes["db.mongodb.lsid"]).bytes
            binary = self._spans.driver.bson.binary.Binary
            attributes["db.mongodb.lsid"] = {"id": binary(session, 4)}
        self._matcher.match(
            expected["attributes"], attributes, root=True, path=f"{path} ({span.name})"
        )
        self.check(expected.get("nested", ()), self._spans.traces.children(span), f"{path}.nested")
