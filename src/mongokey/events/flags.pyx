# cython: language_level=3
"""Which kinds of events somebody wants to be told of, for code that must not pay for asking.

It holds six flags and knows nothing of events, listeners or loggers: `publisher` sets them.
"""


cdef class PublisherFlags:
    """The base of `Publisher`: a flag is true while a listener or a logger wants that kind."""

    # What spans are made with; a publisher that traces has one.
    tracing = None

    def _set_flags(
        self,
        *,
        bint commands,
        bint pools,
        bint topology,
        bint servers,
        bint heartbeats,
        bint selection,
    ):
        self.commands = commands
        self.pools = pools
        self.topology = topology
        self.servers = servers
        self.heartbeats = heartbeats
        self.selection = selection
