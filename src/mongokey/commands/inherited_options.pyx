# cython: language_level=3, nonecheck=True
"""`InheritedOptions`: what a client hands down to its databases and they to their collections.

It knows the four options as values and as elements of commands. It must not know which command
takes which of them.
"""

from mongokey.bson.codec cimport context_of
from mongokey.execution.operation cimport ServerCriteria

from mongokey.commands.arguments import refuse_type


cdef bytes element(str name, document):
    """The bytes of one element whose value is `document`; None if that is empty or None."""
    if not document:
        return None
    from mongokey.bson import encode

    return encode({name: document})[4:-1]


cdef int check_kind(str option, str expected, value, str attribute) except -1:
    """What a value has to have; PyMongo's own read preferences and concerns have it too."""
    if not hasattr(value, "document") or not hasattr(value, attribute):
        refuse_type(option, expected, value)
    return 0


cdef ServerCriteria criteria_of(preference):
    """Where reads go; the default, primary, is not sent along either."""
    check_kind("read_preference", "an object of mongokey.read_preferences", preference, "mode")
    document = preference.document
    if document.get("mode") == "primary":
        return None
    return ServerCriteria(preference, element("$readPreference", document))


cdef class InheritedOptions:
    """Codec options, read preference, write concern and read concern, in one immutable object."""

    def __init__(self, codec_options, read_preference, write_concern, read_concern):
        self.set_codec_options(codec_options)
        self.set_read_preference(read_preference)
        self.set_write_concern(write_concern)
        self.set_read_concern(read_concern)

    cdef int set_codec_options(self, codec_options) except -1:
        self.codec_options = codec_options
        self.context = context_of(codec_options)
        return 0

    cdef int set_read_preference(self, read_preference) except -1:
        self.criteria = self.output_criteria = criteria_of(read_preference)
        self.read_preference = read_preference
        if self.criteria is not None:
            self.output_criteria = ServerCriteria(
                read_preference, self.criteria.element, output_stage=True
            )
        return 0

    cdef int set_write_concern(self, write_concern) except -1:
        check_kind("write_concern", "a WriteConcern", write_concern, "acknowledged")
        self.write_concern = write_concern
        self.write_concern_element = element("writeConcern", write_concern.document)
        self.unacknowledged = not write_concern.acknowledged
        return 0

    cdef int set_read_concern(self, read_concern) except -1:
        check_kind("read_concern", "a ReadConcern", read_concern, "level")
        self.read_concern = read_concern
        self.read_concern_element = element("readConcern", read_concern.document)
        return 0

    cdef InheritedOptions replaced(
        self, codec_options, read_preference, write_concern, read_concern
    ):
        cdef InheritedOptions made
        if (
            codec_options is None
            and read_preference is None
            and write_concern is None
            and read_concern is None
        ):
            return self
        made = InheritedOptions.__new__(InheritedOptions)
        made.codec_options = self.codec_options
        made.context = self.context
        made.read_preference = self.read_preference
        made.criteria = self.criteria
        made.output_criteria = self.output_criteria
        made.write_concern = self.write_concern
        made.write_concern_element = self.write_concern_element
        made.unacknowledged = self.unacknowledged
        made.read_concern = self.read_concern
        made.read_concern_element = self.read_concern_element
        if codec_options is not None:
            made.set_codec_options(codec_options)
        if read_preference is not None:
            made.set_read_preference(read_preference)
        if write_concern is not None:
            made.set_write_concern(write_concern)
        if read_concern is not None:
            made.set_read_concern(read_concern)
        return made


cdef class OptionsHolder(ParentOfNames):
    """Base of clients, databases and collections: the options they have."""

    @property
    def codec_options(self):
        """How documents are decoded and encoded, a `CodecOptions`."""
        return self.inherited.codec_options

    @property
    def read_preference(self):
        """Which servers are read from."""
        return self.inherited.read_preference

    @property
    def write_concern(self):
        """What a write waits for, a `WriteConcern`."""
        return self.inherited.write_concern

    @property
    def read_concern(self):
        """How current and durable what is read must be, a `ReadConcern`."""
        return self.inherited.read_concern

    @property
    def _inherited(self):
        return self.inherited
