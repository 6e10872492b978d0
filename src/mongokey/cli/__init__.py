"""The command line, `mongokey`: what people run in a shell, not what programs import.

Knows every package below it; nothing below knows it. click and rich (the extra `cli`) are needed
only here, SecantusDB (the extra `demo`) only by `mongokey demo`, in a process of its own.
"""
