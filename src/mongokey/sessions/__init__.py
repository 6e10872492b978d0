"""Server sessions, their pool, and the cluster time: values that executions use.

Knows the driver-sessions specification. Must not know operations, servers or connections; times
are handed in.
"""
