"""Commands in messages, as libmongocrypt wants them: one document, without what the driver itself
has added; and back.

It knows the layout of OP_MSG. It must not know what is encrypted.
"""

from __future__ import annotations

from struct import Struct

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import NamedTuple

    class PlainCommand(NamedTuple):
        document: bytes
        head: bytes
        rest: bytes

else:
    from collections import namedtuple

    PlainCommand = namedtuple("PlainCommand", ("document", "head", "rest"))

_INT32 = Struct("<i")
# Header, flags, and the kind of the section that the body is.
_HEAD = 16 + 4 + 1


def plain_command(message: bytes, own_size: int) -> PlainCommand:
    """The command of an OP_MSG `message`, in one document with the documents of its sequences.

    `own_size`: so many bytes of the body, from its beginning, are the operation's; `rest` are the
    elements behind them.
    """
    (size,) = _INT32.unpack_from(message, _HEAD)
    end = _HEAD + size
    elements = [message[_HEAD + 4 : _HEAD + own_size]]
    at = end
    while at < len(message):
        (section_size,) = _INT32.unpack_from(message, at + 1)
        name_end = message.index(b"\0", at + 5) + 1
        elements += (
            b"\x04" + message[at + 5 : name_end],
            _array(message, name_end, at + 1 + section_size),
        )
        at += 1 + section_size
    return PlainCommand(
        _document(b"".join(elements)), message[:_HEAD], message[_HEAD + own_size : end - 1]
    )


def encrypted_message(command: PlainCommand, document: bytes) -> bytes:
    """The message of `command` with `document` in the place of what was its own. The length in its
    header is left as it was."""
    return command.head + _document(document[4:-1] + command.rest)


def _document(elements: bytes) -> bytes:
    return _INT32.pack(len(elements) + 5) + elements + b"\0"


def _array(message: bytes, at: int, end: int) -> bytes:
    """The documents from `at` to `end` as an array."""
    parts: list[bytes] = []
    index = 0
    while at < end:
        (size,) = _INT32.unpack_from(message, at)
        parts += (b"\x03%d\0" % index, message[at : at + size])
        at += size
        index += 1
    return _document(b"".join(parts))


__all__ = ["PlainCommand", "encrypted_message", "plain_command"]
