# The options that a client hands down to its databases, and they to their collections.
from mongokey._support.child_names cimport ParentOfNames
from mongokey.bson.codec cimport CodecContext
from mongokey.execution.operation cimport ServerCriteria


cdef class InheritedOptions:
    # As given, and as elements of commands (None: nothing to send). Never changed once made.
    cdef readonly object codec_options
    cdef CodecContext context
    cdef readonly object read_preference
    cdef ServerCriteria criteria            # None: read from the primary
    cdef ServerCriteria output_criteria     # of aggregations that write
    cdef readonly object read_concern
    cdef bytes read_concern_element
    cdef readonly object write_concern
    cdef bytes write_concern_element
    cdef readonly bint unacknowledged       # w=0

    cdef int set_codec_options(self, codec_options) except -1
    cdef int set_read_preference(self, read_preference) except -1
    cdef int set_write_concern(self, write_concern) except -1
    cdef int set_read_concern(self, read_concern) except -1
    # These options with those replaced that are not None.
    cdef InheritedOptions replaced(
        self, codec_options, read_preference, write_concern, read_concern
    )


cdef class OptionsHolder(ParentOfNames):
    cdef InheritedOptions inherited


# The criteria of a read preference; None for primary.
cdef ServerCriteria criteria_of(preference)
