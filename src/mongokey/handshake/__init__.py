"""The first exchange on a connection: what the client says of itself, what the server answers.

Makes the hello command and its metadata and reads the reply; sends nothing itself, and must not
know how users log in.
"""

from __future__ import annotations

from mongokey.handshake.driver_info import DriverInfo
from mongokey.handshake.hello import hello_command
from mongokey.handshake.metadata import ClientMetadata
from mongokey.handshake.reply import HelloReply

__all__ = ["ClientMetadata", "DriverInfo", "HelloReply", "hello_command"]
