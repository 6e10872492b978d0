"""What every other package may use: clocks, addresses, locks that survive a fork, masked secrets.

Knows the standard library only. Must not know MongoDB.
"""
