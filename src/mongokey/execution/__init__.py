"""One call of an operation: session, server, connection, attempts, until there is a result.

Knows the rules of retryable reads and writes, sessions and server errors. Must not know single
commands, nor how servers are found or connections made.
"""
