# CodecOptions, compiled once into typed fields.


cdef class CodecContext:
    cdef readonly object options            # the CodecOptions it was made from; immutable
    # decoding
    cdef object document_class
    cdef bint plain_dict                    # document_class is dict itself
    cdef bint raw                           # document_class is RawBSONDocument
    cdef bint tz_aware
    cdef object tzinfo                      # of aware datetimes; None: UTC
    cdef int conversion                     # DatetimeConversion's numbers
    cdef bytes error_handler_bytes
    cdef const char *error_handler          # of UTF-8 decoding; NULL: strict
    cdef dict decoders                      # type -> function, or None
    # encoding
    cdef dict encoders                      # type -> function, or None
    cdef object fallback                    # function or None
    # both
    cdef int uuid_representation


# The context of `options` (None: the default options); cached, cheap to call again.
cdef CodecContext context_of(object options)
