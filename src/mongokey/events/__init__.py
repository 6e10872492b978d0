"""Events and logs: what a client tells those who watch it.

`publisher.Publisher` is what the driver calls, one for each client; the events are values, and
listeners and log records are made from them. Must not know pools, topologies or operations: they
call this package.
"""
