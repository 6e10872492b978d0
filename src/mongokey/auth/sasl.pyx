# cython: language_level=3
"""The saslStart and saslContinue documents, made and read in this one place.

Knows source/auth/auth.md, "SASL Mechanisms"; must not know what any payload says.
"""

from mongokey.auth.errors import ServerProofError

# Payloads are a few hundred bytes; a Kerberos or OIDC one reaches tens of kilobytes.
MAX_PAYLOAD = 1 << 20
cdef Py_ssize_t most = MAX_PAYLOAD


cdef class SaslReply:
    """A server's SASL answer: what to say in saslContinue, whether it is done, its message."""

    def __init__(
        self, conversation_id, bint done, bytes payload not None, str mechanism not None
    ):
        self.conversation_id = conversation_id
        self.done = done
        self.payload = payload
        self.mechanism = mechanism


cpdef dict start(str mechanism, bytes payload, object options=None):
    """The saslStart command for the mechanism's first message."""
    cdef dict command = {
        "saslStart": 1,
        "mechanism": mechanism,
        "payload": payload,
        "autoAuthorize": 1,
    }
    if options is not None:
        command["options"] = options
    return command


cpdef dict proceed(SaslReply reply, bytes payload):
    """The saslContinue command for the mechanism's next message.

    Raises ServerProofError when the server gave the conversation no id.
    """
    if reply is None:
        raise TypeError("a SASL exchange goes on after a reply")
    # An int32 from MongoDB; whatever another server calls it by is sent back as it came.
    if reply.conversation_id is None:
        raise _broken(reply.mechanism, "conversationId", "a number", None)
    return {"saslContinue": 1, "conversationId": reply.conversation_id, "payload": payload}


cpdef SaslReply read(object reply, str mechanism):
    """Check the types of a reply to saslStart or saslContinue.

    A missing payload is an empty one. Raises ServerProofError, naming the field, when one is not
    what it should be, or `done` is missing.
    """
    cdef SaslReply made
    cdef bytes message
    done = reply.get("done")
    payload = reply.get("payload")
    if done is not True and done is not False:
        # 1 or 1.0 from servers that only look like MongoDB.
        if not isinstance(done, (int, float)):
            raise _broken(mechanism, "done", "true or false", done)
        done = done == 1
    if payload is None:
        message = b""
    elif type(payload) is bytes:
        message = payload
    elif isinstance(payload, bytes):
        message = bytes(payload)
    else:
        raise _broken(mechanism, "payload", "binary data", payload)
    if len(message) > most:
        raise ServerProofError(
            f"{mechanism}: the server's payload has {len(message)} bytes, more than {most}"
        )
    made = SaslReply.__new__(SaslReply)
    made.conversation_id = reply.get("conversationId")
    made.done = done
    made.payload = message
    made.mechanism = mechanism
    return made


cdef object _broken(str mechanism, str name, str expected, object value):
    seen = "is missing" if value is None else f"is {type(value).__name__}"
    return ServerProofError(
        f"{mechanism}: the server broke the SASL exchange: {name} {seen}, expected {expected}"
    )
