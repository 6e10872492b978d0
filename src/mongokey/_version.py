"""The version, in one place: read by the build, the handshake's metadata and the command line."""

__version__ = "0.1.0"
