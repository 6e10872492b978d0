"""What is traced, kept in memory: OpenTelemetry's SDK as tests use it."""

from __future__ import annotations

from typing import Any

from tests.servers.needs import need_module


class Traces:
    """A provider of tracers, and the spans that have ended."""

    def __init__(self, *, sampler: Any = None) -> None:
        sdk = need_module("opentelemetry.sdk.trace", extra="test")
        export = need_module("opentelemetry.sdk.trace.export", extra="test")
        memory = need_module("opentelemetry.sdk.trace.export.in_memory_span_exporter", extra="test")
        self.exporter = memory.InMemorySpanExporter()
        self.provider = sdk.TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(export.SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("tests")

    def option(self, length: int = 0) -> dict[str, Any]:
        """The option of a client that is traced."""
        return {
            "enabled": True,
            "query_text_max_length": length,
            "tracer_provider": self.provider,
        }

    def spans(self) -> list[Any]:
        """All that have ended, by when they began."""
        return sorted(
            self.exporter.get_finished_spans(), key=lambda span: (span.start_time, -span.end_time)
        )

    def clear(self) -> None:
        """Forget what was traced."""
        self.exporter.clear()

    def named(self, name: str) -> Any:
        """The only span of that name."""
        (found,) = [span for span in self.spans() if span.name == name]
        return found

    def roots(self) -> list[Any]:
        """Those that are in no other."""
        return [span for span in self.spans() if span.parent is None]

    def children(self, parent: Any) -> list[Any]:
        """Those that are in `parent` itself."""
        return [
            span
            for span in self.spans()
            if span.parent is not None and span.parent.span_id == parent.context.span_id
        ]

    def tree(self, spans: list[Any] | None = None) -> list[Any]:
        """The names as they are nested: a name, or a name with what is in it."""
        found: list[Any] = []
        for span in self.roots() if spans is None else spans:
            inner = self.tree(self.children(span))
            found.append((span.name, inner) if inner else span.name)
        return found
