# cython: language_level=3, nonecheck=True
"""The C cores of clients, databases and collections: what they do at every call.

Each method makes an operation of its arguments and has it executed, without a Python frame.
`MongoClient`, `Database` and `Collection` are Python classes on top; what is not done all the
time stands there. How operations look like, `mongokey.commands` knows.
"""

from mongokey.commands.collection_operations cimport (
    delete,
    find_first,
    insert_one,
    replace,
    update as make_update,
)
from mongokey.commands.command cimport CursorCommand, user_command
from mongokey.commands.find_query cimport FindQuery
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.execution cimport Executor
from mongokey.execution.operation cimport Namespace, Operation
from mongokey.faces.cursor_cores cimport BlockingCursorCore, CursorCore

from mongokey.commands import arguments
from mongokey.commands.plan import GIVE_WAY, Documents


cdef class Core(OptionsHolder):
    """Base of the cores: they have options, and an executor that carries operations out."""

    @property
    def _executor(self):
        return self.executor


cdef class BlockingCalls:
    """The calls of the blocking classes, beside a core: they wait for what they have carried out.
    """

    def __reduce_ex__(self, protocol):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def _execute(self, step):
        """Carry out one step of a plan; returns its result.

        A step is an operation; a command that opens a cursor, which gives a `CommandCursor` that
        keeps this object, and so the client, alive; `Documents`, which give one too; such a
        cursor, whose next batch is fetched; or `GIVE_WAY`.
        """
        cdef Executor executor = (<Core?>self).executor
        if isinstance(step, CursorCommand):
            return type(self)._command_cursor_class._opened(
                self, executor, step, executor.execute(<Operation>step)
            )
        if isinstance(step, Operation):
            return executor.execute(<Operation>step)
        if isinstance(step, Documents):
            return type(self)._command_cursor_class._of(step.documents)
        if step is GIVE_WAY:
            return None  # nobody shares the thread
        return (<BlockingCursorCore?>step).fill()

    def _run(self, plan):
        """Carry out a plan, a generator over operations; returns its result."""
        try:
            step = next(plan)
            while True:
                try:
                    result = self._execute(step)
                except BaseException as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            return end.value
        finally:
            plan.close()


cdef class ClientCore(Core):
    """The core of `MongoClient`."""

    _name_in_errors = "MongoClient"

    def _set_up(self, InheritedOptions inherited not None, Executor executor not None):
        """What it needs to carry operations out, once that is made."""
        self.inherited = inherited
        self.executor = executor

    cdef object child(self, name):
        return type(self)._database_class(self, name)

    cdef tuple words_for(self, str name):
        return type(self)._name_in_errors, "database", name, f"client[{name!r}]"


cdef class DatabaseCore(Core):
    """The core of `Database`."""

    _name_in_errors = "Database"

    def __init__(
        self,
        ClientCore client not None,
        name,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
    ):
        if not (type(name) is str and (<str>name).isidentifier()):
            # Most names are plain words, which the rules need not look at.
            arguments.check_string("name", name)
            arguments.check_database_name(name)
        self.client = client
        self.executor = client.executor
        self.name = name
        self.namespace = Namespace(name)
        self.inherited = client.inherited.replaced(
            codec_options, read_preference, write_concern, read_concern
        )

    cdef object child(self, name):
        return type(self)._collection_class(self, name)

    cdef tuple words_for(self, str name):
        return type(self)._name_in_errors, "collection", name, f"database[{name!r}]"

    @property
    def _namespace(self):
        return self.namespace

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
        return self.executor.execute(
            user_command(
                self.namespace,
                command,
                value,
                check,
                allowable_errors,
                read_preference,
                codec_options,
                session,
                comment,
                kwargs,
            )
        )


cdef class CollectionCore(Core):
    """The core of `Collection`."""

    _name_in_errors = "Collection"

    def __init__(
        self,
        DatabaseCore database not None,
        name,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
    ):
        if not (type(name) is str and (<str>name).isidentifier()):
            # Most names are plain words, which the rules need not look at.
            arguments.check_collection_name(name)
        self.database = database
        self.executor = database.executor
        self.name = name
        self.namespace = database.namespace.of_collection(name)
        self.inherited = database.inherited.replaced(
            codec_options, read_preference, write_concern, read_concern
        )

    cdef object child(self, name):
        """The collection `name` "below" this one, with the options that this one has."""
        cdef CollectionCore made
        made = <CollectionCore?>self.database.child(f"{self.name}.{name}")
        made.inherited = self.inherited
        return made

    cdef tuple words_for(self, str name):
        whole = f"{self.name}.{name}"
        return type(self)._name_in_errors, "collection", whole, f"database[{whole!r}]"

    @property
    def _namespace(self):
        return self.namespace

    def _bind(self, CursorCore cursor not None):
        """Give a new cursor what it takes from its collection."""
        cursor.owner = self
        cursor.executor = self.executor
        cursor.namespace = self.namespace
        cursor.context = self.inherited.context
        cursor.inherited = self.inherited

    def insert_one(
        self, document, bypass_document_validation=None, session=None, comment=None
    ):
        """Insert one document; it gets an ``_id`` if it has none.

        Returns an `InsertOneResult`. Raises `DuplicateKeyError`, `WriteError`, `DocumentTooLarge`,
        `InvalidDocument` and what the connection raises.
        """
        return self.executor.execute(
            insert_one(
                self.namespace,
                self.inherited,
                document,
                bypass_document_validation,
                session,
                comment,
            )
        )

    def update_one(
        self,
        filter,
        update,
        upsert=False,
        bypass_document_validation=None,
        collation=None,
        array_filters=None,
        hint=None,
        session=None,
        let=None,
        sort=None,
        comment=None,
    ):
        """Update the first document that `filter` matches, with ``$`` operators or a pipeline.

        Returns an `UpdateResult`.
        """
        return self.executor.execute(
            make_update(
                self.namespace,
                self.inherited,
                filter,
                update,
                False,
                upsert,
                bypass_document_validation,
                collation,
                array_filters,
                hint,
                session,
                let,
                sort,
                comment,
            )
        )

    def update_many(
        self,
        filter,
        update,
        upsert=False,
        array_filters=None,
        bypass_document_validation=None,
        collation=None,
        hint=None,
        session=None,
        let=None,
        comment=None,
    ):
        """Update every document that `filter` matches. Returns an `UpdateResult`."""
        return self.executor.execute(
            make_update(
                self.namespace,
                self.inherited,
                filter,
                update,
                True,
                upsert,
                bypass_document_validation,
                collation,
                array_filters,
                hint,
                session,
                let,
                None,
                comment,
            )
        )

    def replace_one(
        self,
        filter,
        replacement,
        upsert=False,
        bypass_document_validation=None,
        collation=None,
        hint=None,
        session=None,
        let=None,
        sort=None,
        comment=None,
    ):
        """Replace the first document that `filter` matches. Returns an `UpdateResult`."""
        return self.executor.execute(
            replace(
                self.namespace,
                self.inherited,
                filter,
                replacement,
                upsert,
                bypass_document_validation,
                collation,
                hint,
                session,
                let,
                sort,
                comment,
            )
        )

    def delete_one(
        self, filter, collation=None, hint=None, session=None, let=None, comment=None
    ):
        """Delete the first document that `filter` matches. Returns a `DeleteResult`."""
        return self.executor.execute(
            delete(
                self.namespace, self.inherited, filter, 1, collation, hint, session, let, comment
            )
        )

    def delete_many(
        self, filter, collation=None, hint=None, session=None, let=None, comment=None
    ):
        """Delete every document that `filter` matches. Returns a `DeleteResult`."""
        return self.executor.execute(
            delete(
                self.namespace, self.inherited, filter, 0, collation, hint, session, let, comment
            )
        )

    def find_one(self, filter=None, *args, **kwargs):
        """The first document that `filter` matches, or None.

        `filter` may also be an ``_id``; further arguments are those of `find`.
        """
        cdef FindQuery query
        if args or kwargs:
            query = FindQuery(arguments.filter_or_id(filter), *args, **kwargs)
            return self.executor.execute(query.first(self.namespace, self.inherited))
        return self.executor.execute(find_first(self.namespace, self.inherited, filter))

    def find(self, *args, **kwargs):
        """A `Cursor` over the documents that a filter matches; arguments as PyMongo's `find`."""
        return type(self)._cursor_class(self, *args, **kwargs)
