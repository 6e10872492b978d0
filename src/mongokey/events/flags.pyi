from typing import Any

class PublisherFlags:
    tracing: Any
    @property
    def commands(self) -> bool: ...
    @property
    def pools(self) -> bool: ...
    @property
    def topology(self) -> bool: ...
    @property
    def servers(self) -> bool: ...
    @property
    def heartbeats(self) -> bool: ...
    @property
    def selection(self) -> bool: ...
    def _set_flags(
        self,
        *,
        commands: bool,
        pools: bool,
        topology: bool,
        servers: bool,
        heartbeats: bool,
        selection: bool,
    ) -> None: ...
