# cython: language_level=3, nonecheck=True
"""A database, under PyMongo's name: commands, and the way to collections.

It knows names, options and the commands about a database. How a command travels is
`operations`'.
"""

from types import GenericAlias

from mongokey.bson.codec cimport context_of
from mongokey.commands.command cimport Command, CursorCommand
from mongokey.execution.operation cimport Namespace

from mongokey.commands import arguments as arguments
from mongokey._support import not_yet as not_yet
from mongokey.cursor import CommandCursor
from mongokey.errors import CollectionInvalid, ConfigurationError

cdef frozenset NOT_YET = not_yet.NOT_YET["Database"]

cdef object _collection_class = None


cdef object collection_class():
    """`Collection`, imported late: its module stands above this one."""
    global _collection_class
    if _collection_class is None:
        from mongokey.collection import Collection

        _collection_class = Collection
    return _collection_class


cpdef bytes element(str name, document):
    """The bytes of one element whose value is `document`; None if that is empty or None."""
    if not document:
        return None
    from mongokey.bson import encode

    return encode({name: document})[4:-1]


def read_preference_element(preference):
    """`$readPreference` for commands; the default, primary, is not sent."""
    document = preference.document
    if document.get("mode") == "primary":
        return None
    return element("$readPreference", document)


cdef object command_document(command, value, comment, dict options):
    """The document of a command given by its name and options, or whole."""
    if isinstance(command, str):
        if command in options:
            raise ConfigurationError(
                f"the option {command!r} cannot be given by keyword: it is the command's name, "
                f"whose value is {value!r}"
            )
        document = {command: value}
    else:
        arguments.check_mapping("command", command)
        document = command
    if options or comment is not None:
        document = dict(document, **options)
        if comment is not None:
            document["comment"] = comment
    return document


cdef class InheritedOptions:
    """The options of a client that its databases take over, with their elements in commands."""

    def __init__(self, codec_options, read_preference, write_concern, read_concern):
        self.codec_options = codec_options
        self.context = context_of(codec_options)
        self.read_preference = read_preference
        self.read_preference_element = read_preference_element(read_preference)
        self.write_concern = write_concern
        self.write_concern_element = element("writeConcern", write_concern.document)
        self.read_concern = read_concern
        self.read_concern_element = element("readConcern", read_concern.document)
        self.unacknowledged = not write_concern.acknowledged


cdef class Database:
    """The database `name` of `client`; options left out are the client's."""

    def __init__(
        self,
        client,
        name,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
    ):
        cdef InheritedOptions inherited
        if not (type(name) is str and (<str>name).isidentifier()):
            # Most names are plain words, which the rules need not look at.
            arguments.check_string("name", name)
            arguments.check_database_name(name)
        self.client = client
        self.executor = client._executor
        self.name = name
        self.namespace = Namespace(name)
        inherited = <InheritedOptions?>client._inherited
        self.codec_options = inherited.codec_options
        self.context = inherited.context
        self.read_preference = inherited.read_preference
        self.read_preference_element = inherited.read_preference_element
        self.write_concern = inherited.write_concern
        self.write_concern_element = inherited.write_concern_element
        self.read_concern = inherited.read_concern
        self.read_concern_element = inherited.read_concern_element
        self.unacknowledged = inherited.unacknowledged
        if codec_options is not None:
            self.codec_options = codec_options
            self.context = context_of(codec_options)
        if read_preference is not None:
            self.read_preference = read_preference
            self.read_preference_element = read_preference_element(read_preference)
        if write_concern is not None:
            self.write_concern = write_concern
            self.write_concern_element = element("writeConcern", write_concern.document)
            self.unacknowledged = not write_concern.acknowledged
        if read_concern is not None:
            self.read_concern = read_concern
            self.read_concern_element = element("readConcern", read_concern.document)

    def __getitem__(self, name):
        return collection_class()(self, name)

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(
                f"{type(self).__name__} has no attribute {name!r}. To access the {name} "
                f"collection, use database[{name!r}]."
            )
        if name in NOT_YET:
            raise not_yet.refuse("Database", name, "collection")
        return collection_class()(self, name)

    @classmethod
    def __class_getitem__(cls, document_class):
        return GenericAlias(cls, document_class)

    def next(self):
        """Always a TypeError: a database is nothing to iterate over."""
        return self.__iter__()

    def __eq__(self, other):
        if isinstance(other, Database):
            return self.client == other.client and self.name == other.name
        return NotImplemented

    def __hash__(self):
        return hash((self.client, self.name))

    def __repr__(self):
        return f"{type(self).__name__}({self.client!r}, {self.name!r})"

    def __bool__(self):
        raise NotImplementedError(
            f"{type(self).__name__} objects do not implement truth value testing or bool(). "
            f"Please compare with None instead: database is not None"
        )

    def __iter__(self):
        raise TypeError(f"{type(self).__name__!r} object is not iterable")

    def get_collection(
        self,
        name,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
    ):
        """The collection `name`, with other options than the database's where given."""
        return collection_class()(
            self,
            name,
            codec_options=codec_options,
            read_preference=read_preference,
            write_concern=write_concern,
            read_concern=read_concern,
        )

    def with_options(
        self, codec_options=None, read_preference=None, write_concern=None, read_concern=None
    ):
        """This database with other options."""
        return type(self)(
            self.client,
            self.name,
            codec_options or self.codec_options,
            read_preference or self.read_preference,
            write_concern or self.write_concern,
            read_concern or self.read_concern,
        )

    def command(
        self,
        command,
        value=1,
        check=True,
        allowable_errors=None,
        read_preference=None,
        codec_options=None,
        session=None,
        comment=None,
        **kwargs,
    ):
        """Run a command and return the server's reply, a dict.

        `command` is its name (then `value` and keyword arguments are its fields) or the whole
        document. With ``check=False``, or for codes and messages in `allowable_errors`, an error
        reply is returned and not raised. Raises `OperationFailure` and kin.
        """
        cdef Command operation = Command.__new__(Command)
        if session is not None:
            arguments.refuse_session(session)
        operation.namespace = self.namespace
        # run-command: neither the database's codec options nor its read preference apply. The
        # whole reply is the caller's, and read by the caller's options.
        operation.context = operation.reply_context = context_of(codec_options)
        operation.set_document(command_document(command, value, comment, kwargs))
        if read_preference is not None:
            operation.set_elements(read_preference_element(read_preference), None, None)
        if not check or allowable_errors is not None:
            operation.allow_errors(allowable_errors if check else None)
        return self.executor.execute(operation)

    def cursor_command(
        self,
        command,
        value=1,
        read_preference=None,
        codec_options=None,
        session=None,
        comment=None,
        max_await_time_ms=None,
        **kwargs,
    ):
        """Run a command whose reply has a cursor, and return a `CommandCursor` over it.

        Raises `InvalidOperation` if the reply has none, and what `command` raises.
        """
        arguments.refuse_session(session)
        document = command_document(command, value, comment, kwargs)
        extras = {}
        if comment is not None:
            extras["comment"] = comment
        if max_await_time_ms is not None:
            extras["maxTimeMS"] = max_await_time_ms
        return self._cursor(
            document,
            codec_options=codec_options,
            read_preference=read_preference,
            get_more_extras=extras or None,
            needs_cursor=True,
        )

    def _cursor(
        self,
        document,
        *,
        collection=None,
        codec_options=None,
        read_preference=None,
        bytes read_preference_bytes=None,
        bytes read_concern=None,
        bytes write_concern=None,
        batch_size=0,
        bint retryable_read=False,
        get_more_extras=None,
        bint needs_cursor=False,
        bint writes=False,
    ):
        """A `CommandCursor` over the reply to `document`."""
        cdef CursorCommand operation
        operation = CursorCommand(
            self.namespace,
            document,
            options=codec_options,
            retryable_read=retryable_read,
            check_write_concern=writes,
        )
        operation.needs_cursor = needs_cursor
        if read_preference is not None:
            read_preference_bytes = read_preference_element(read_preference)
        operation.set_elements(read_preference_bytes, read_concern, write_concern)
        operation.writes = writes
        return CommandCursor._open(
            # What keeps the client alive while the cursor is used.
            self if collection is None else collection,
            self.executor,
            self.namespace,
            context_of(codec_options),
            operation,
            batch_size,
            get_more_extras,
        )

    def aggregate(self, pipeline, session=None, **kwargs):
        """Run an aggregation over the database (``$currentOp``, ``$documents``…)."""
        from mongokey.commands.aggregate import aggregate_command

        arguments.refuse_session(session)
        document, batch_size, writes, extras = aggregate_command(1, pipeline, kwargs)
        return self._cursor(
            document,
            codec_options=self.codec_options,
            read_preference_bytes=None if writes else self.read_preference_element,
            read_concern=self.read_concern_element,
            write_concern=self.write_concern_element if writes else None,
            batch_size=batch_size,
            retryable_read=not writes,
            writes=writes,
            get_more_extras=extras,
        )

    def create_collection(
        self,
        name,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
        session=None,
        check_exists=True,
        **kwargs,
    ):
        """Create a collection with options (capped, validator, timeseries…).

        Raises `CollectionInvalid` if it exists (checked first unless `check_exists` is False).
        """
        arguments.refuse_session(session)
        collection = collection_class()(
            self, name, codec_options, read_preference, write_concern, read_concern
        )
        document = arguments.add_options({"create": name}, kwargs)
        if check_exists and self.list_collection_names(filter={"name": name}):
            raise CollectionInvalid(f"collection {name} already exists")
        self._write_command(document)
        return collection

    def _write_command(self, document, parse=None):
        """Run a command that writes, with the database's write concern."""
        cdef Command operation = Command(
            self.namespace, document, parse=parse, check_write_concern=True
        )
        operation.writes = True
        operation.set_elements(None, None, self.write_concern_element)
        return self.executor.execute(operation)

    def list_collections(self, session=None, filter=None, comment=None, **kwargs):
        """A cursor over the collections, a document for each."""
        arguments.refuse_session(session)
        document = {"listCollections": 1}
        if filter is not None:
            arguments.check_mapping("filter", filter)
            document["filter"] = filter
        arguments.add_options(document, {"cursor": {}, **kwargs}, comment)
        return self._cursor(document, retryable_read=True)

    def list_collection_names(self, session=None, filter=None, comment=None, **kwargs):
        """The names of the collections, a list."""
        kwargs.setdefault(
            "nameOnly", filter is None or (isinstance(filter, dict) and set(filter) <= {"name"})
        )
        with self.list_collections(session, filter=filter, comment=comment, **kwargs) as cursor:
            return [each["name"] for each in cursor]

    def drop_collection(
        self, name_or_collection, session=None, comment=None, encrypted_fields=None
    ):
        """Drop a collection, given by its name or itself; no error if there is none.

        `encrypted_fields` must be None: this version has no encryption.
        """
        if encrypted_fields is not None:
            raise ConfigurationError("encrypted_fields is not supported by this version")
        arguments.refuse_session(session)
        name = name_or_collection
        if isinstance(name, collection_class()):
            name = name.name
        arguments.check_string("name_or_collection", name)
        document = {"drop": name}
        if comment is not None:
            document["comment"] = comment
        cdef Command operation = Command(self.namespace, document, check_write_concern=True)
        operation.writes = True
        operation.set_elements(None, None, self.write_concern_element)
        operation.allow_errors([26, "ns not found"])
        return self.executor.execute(operation)

    def dereference(self, dbref, session=None, comment=None, **kwargs):
        """The document that a `DBRef` points to, or None."""
        from mongokey.bson.dbref import DBRef

        if not isinstance(dbref, DBRef):
            arguments.refuse_type("dbref", "a DBRef", dbref)
        if dbref.database is not None and dbref.database != self.name:
            raise ValueError(
                f"trying to dereference a DBRef that points to another database "
                f"({dbref.database!r} not {self.name!r})"
            )
        return self[dbref.collection].find_one(
            {"_id": dbref.id}, session=session, comment=comment, **kwargs
        )
