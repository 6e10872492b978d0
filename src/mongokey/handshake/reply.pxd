# The server's answer to hello as typed fields. Sizes are bytes, counts are documents.
from libc.stdint cimport int32_t


cdef class HelloReply:
    cdef readonly dict document
    cdef readonly str server_type
    # Limits, within this driver's own bounds.
    cdef readonly int32_t max_bson_size
    cdef readonly int32_t max_message_size
    cdef readonly int32_t max_write_batch_size
    cdef readonly int32_t min_wire_version
    cdef readonly int32_t max_wire_version
    cdef readonly object logical_session_timeout_minutes    # int or None
    cdef readonly bint hello_ok
    # The replica set, as this member sees it; addresses are (host, port).
    cdef readonly str set_name
    cdef readonly object me
    cdef readonly object primary
    cdef readonly tuple hosts
    cdef readonly tuple passives
    cdef readonly tuple arbiters
    # The login.
    cdef readonly tuple compression
    cdef readonly list sasl_supported_mechs
    cdef readonly object speculative_authenticate
    # The connection and the state it was made in.
    cdef readonly object topology_version
    cdef readonly object connection_id
    cdef readonly object service_id

    # Whether this is a member of an initiated replica set.
    cdef bint in_replica_set(self) except -1
