# Objects whose unknown attributes are their children: `client.name` is a database.


cdef class ParentOfNames:
    # The child `name`: a database of a client, a collection of a database.
    cdef object child(self, name)
    # What stands in error messages: what kind of object a child is, its whole name, and how to get
    # it without attribute access.
    cdef tuple words_for(self, str name)
