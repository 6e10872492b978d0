"""What the blocking classes of the top level stand on: their C cores, and a client's parts.

Knows everything below, and waits in the calling thread. The asyncio face has a package of its own.
"""
