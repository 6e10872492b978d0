"""What the blocking and the asyncio classes stand on: their C cores, and a client's parts.

Knows everything below. The cores do not wait: whether a call waits or returns an awaitable is
decided by the executor that they are given.
"""
