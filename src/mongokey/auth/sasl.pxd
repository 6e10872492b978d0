# The saslStart and saslContinue documents, and a server's answers to them.


cdef class SaslReply:
    cdef readonly object conversation_id    # whatever the server calls it by, an int32 of MongoDB's
    cdef readonly bint done
    cdef readonly bytes payload
    cdef readonly str mechanism


cpdef dict start(str mechanism, bytes payload, object options=*)
cpdef dict proceed(SaslReply reply, bytes payload)
cpdef SaslReply read(object reply, str mechanism)
