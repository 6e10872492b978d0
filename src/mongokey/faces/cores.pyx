# cython: language_level=3, nonecheck=True, embedsignature=True, embedsignature.format=clinic
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
from mongokey.commands.command cimport Command, CursorCommand, user_command
from mongokey.commands.find_query cimport FindQuery
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.execution cimport Executor, bound_sessions
from mongokey.execution.operation cimport Namespace, Operation
from mongokey.faces.cursor_cores cimport BlockingCursorCore, CursorCore

from collections.abc import Mapping

from mongokey.commands import arguments
from mongokey.commands.plan import GIVE_WAY, Documents
from mongokey.execution.time_limits import limited, one_deadline
from mongokey.faces.find_cursor import FindCursor
from mongokey.faces.sessions import options_in, session_for


cdef extern from *:
    """
    static int mk_made_alike(PyTypeObject *cls, PyTypeObject *base) {
        return cls->tp_new == base->tp_new && cls->tp_init == base->tp_init;
    }
    """
    bint mk_made_alike(type cls, type base)


cdef object FIND_CURSOR_INIT = FindCursor.__init__
cdef object OBJECT_NEW = object.__new__


cdef object carry_out_in(Executor executor, Operation operation, session):
    """Have `operation` carried out in `session`, or (None) in the one that is bound here."""
    session = session_for(session, executor)
    if session is None:
        return executor.execute(operation)
    return executor.execute_in(operation, session)


cdef inline object carry_out(Executor executor, Operation operation, session):
    if session is None and bound_sessions == 0:
        return executor.execute(operation)
    return carry_out_in(executor, operation, session)


cdef inline object carry_out_within(Executor executor, timeout_ms, Operation operation, session):
    """The same with the timeoutMS of a single call, if that has one."""
    if session is None and timeout_ms is None and bound_sessions == 0:
        return executor.execute(operation)
    return carry_out_in(limited_for(executor, timeout_ms), operation, session)


cdef inline bint has_modifiers(filter) except -1:
    """Whether a filter of `find_one`, or an ``_id``, is a query of the oldest form."""
    if type(filter) is dict:
        return "$query" in <dict>filter
    return filter is not None and isinstance(filter, Mapping) and "$query" in filter


cdef Executor limited_for(Executor executor, timeout_ms):
    return executor if timeout_ms is None else limited(executor, timeout_ms, of_call=True)


cdef class Core(OptionsHolder):
    """Base of the cores: they have options, and an executor that carries operations out."""

    @property
    def _executor(self):
        return self.executor

    def _inherited_in(self, session):
        """The options that it hands down, as they are in `session`: a transaction has its own."""
        if session is None and bound_sessions == 0:
            return self.inherited
        return options_in(session_for(session, self.executor), self.inherited)

    def _limit_time(self, timeout_ms):
        """Give it a timeoutMS of its own, unless that is None; returns self."""
        if timeout_ms is not None:
            self.executor = limited(self.executor, timeout_ms)
        return self

    def _carried_out_by(self, Executor executor not None):
        """Give it the timeoutMS of another object of its client; returns self."""
        self.executor = executor
        return self

    def _transaction_preference(self, session):
        """The read preference of the transaction that a call in `session` belongs to, or None."""
        found = session_for(session, self.executor)
        if found is None or not found.in_transaction:
            return None
        return found._transaction.options.read_preference


cdef class BlockingCalls:
    """The calls of the blocking classes, beside a core: they wait for what they have carried out.
    """

    def __reduce_ex__(self, protocol):
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")

    def _execute(self, step, session=None, timeout_ms=None, timeout_mode=None):
        """Carry out one step of a plan, in `session` if that is given; returns its result.
        `timeout_ms` takes the place of the timeoutMS that is inherited; `timeout_mode` says what
        that is for in a cursor.

        A step is an operation; a command that opens a cursor, which gives a `CommandCursor` that
        keeps this object, and so the client, alive; `Documents`, which give one too; such a
        cursor, whose next batch is fetched; or `GIVE_WAY`.
        """
        cdef Core core = <Core?>self
        return self._perform(limited_for(core.executor, timeout_ms), step, session, timeout_mode)

    def _perform(self, Executor executor not None, step, session, timeout_mode):
        if isinstance(step, Operation):
            if (executor.timed or timeout_mode is not None) and isinstance(step, CursorCommand):
                step.in_time_of(executor, timeout_mode)
            if session is not None or bound_sessions:
                session = session_for(session, executor)
            result = carry_out(executor, <Operation>step, session)
            if isinstance(step, CursorCommand):
                return type(self)._command_cursor_class._opened(
                    self, executor, step, result, session
                )
            return result
        if isinstance(step, Documents):
            return type(self)._command_cursor_class._of(step.documents)
        if step is GIVE_WAY:
            return None  # nobody shares the thread
        # One batch, which may be empty: how many there may be, the plan knows.
        return (<BlockingCursorCore?>step).fill(True)

    def _run(self, plan, session=None, timeout_ms=None, timeout_mode=None):
        """Carry out a plan, a generator over operations, which share one deadline; returns its
        result. `timeout_ms` and `timeout_mode` are as in `_execute`."""
        cdef Executor executor
        cdef object scope = None
        try:
            executor = limited_for((<Core?>self).executor, timeout_ms)
            if executor.timed:
                scope = one_deadline(executor)
                scope.__enter__()
            if executor.publisher.commands:
                plan = executor.publisher.traced(plan)
            step = next(plan)
            while True:
                try:
                    result = self._perform(executor, step, session, timeout_mode)
                except BaseException as error:
                    step = plan.throw(error)
                else:
                    step = plan.send(result)
        except StopIteration as end:
            return end.value
        finally:
            plan.close()
            if scope is not None:
                scope.__exit__()


cdef class ClientCore(Core):
    """The core of `MongoClient`."""

    def _set_up(self, InheritedOptions inherited not None, Executor executor not None):
        """What it needs to carry operations out, once that is made."""
        self.inherited = inherited
        self.executor = executor

    cdef object child(self, name):
        return type(self)._database_class(self, name)

    cdef tuple words_for(self, str name):
        return "database", name, f"client[{name!r}]"


cdef class DatabaseCore(Core):
    """The core of `Database`."""

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
        cdef CollectionCore made
        cls = type(self)._collection_class
        if type(cls) is not type or not mk_made_alike(cls, CollectionCore):
            return cls(self, name)
        # A class that neither makes nor fills its objects in a way of its own: without the call
        # of a class, and its parameters.
        made = <CollectionCore>CollectionCore.__new__(<type>cls)
        made.set_up(self, name)
        return made

    cdef tuple words_for(self, str name):
        return "collection", name, f"database[{name!r}]"

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
        *,
        timeout_ms=None,
        **kwargs,
    ):
        """Run a command and return the server's reply, a dict.

        `command` is its name (then `value` and keyword arguments are its fields) or the whole
        document. With ``check=False``, or for codes and messages in `allowable_errors`, an error
        reply is returned and not raised. Raises `OperationFailure` and kin.
        """
        cdef Command operation = user_command(
            self.namespace,
            command,
            value,
            check,
            allowable_errors,
            read_preference,
            codec_options,
            comment,
            kwargs,
        )
        if session is None and timeout_ms is None and bound_sessions == 0:
            return self.executor.execute(operation)
        if read_preference is None:
            # That of the transaction, which has one of its own; None where there is none.
            operation.reading_by(self._transaction_preference(session))
        return carry_out_in(limited_for(self.executor, timeout_ms), operation, session)


cdef class CollectionCore(Core):
    """The core of `Collection`."""

    def __init__(
        self,
        DatabaseCore database not None,
        name,
        create=False,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
        session=None,
        **kwargs,
    ):
        self.set_up(database, name)
        self.inherited = database.inherited.replaced(
            codec_options, read_preference, write_concern, read_concern
        )
        if create or kwargs:
            self._create(session, kwargs)

    cdef int set_up(self, DatabaseCore database, name) except -1:
        if not (type(name) is str and (<str>name).isidentifier()):
            # Most names are plain words, which the rules need not look at.
            arguments.check_collection_name(name)
        self.database = database
        self.executor = database.executor
        self.name = name
        self.namespace = database.namespace.of_collection(name)
        self.inherited = database.inherited
        return 0

    def _create(self, session, options):
        """Create it on the server, with options: what the constructor was told."""
        from warnings import warn

        warn(
            "Collection(..., create=True) and its options of `create` are deprecated, as in "
            "PyMongo: use Database.create_collection",
            DeprecationWarning,
        )
        self.database.create_collection(
            self.name,
            write_concern=self.write_concern,
            session=session,
            check_exists=False,
            **options,
        )

    cdef object child(self, name):
        """The collection `name` "below" this one, with the options that this one has."""
        cdef CollectionCore made
        made = <CollectionCore?>self.database.child(f"{self.name}.{name}")
        made.inherited = self.inherited
        made.executor = self.executor
        return made

    cdef tuple words_for(self, str name):
        whole = f"{self.name}.{name}"
        return "collection", whole, f"database[{whole!r}]"

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
        self, document, bypass_document_validation=None, session=None, comment=None, *,
        timeout_ms=None
    ):
        """Insert one document; it gets an ``_id`` if it has none.

        Returns an `InsertOneResult`. Raises `DuplicateKeyError`, `WriteError`, `DocumentTooLarge`,
        `InvalidDocument` and what the connection raises.
        """
        cdef InheritedOptions options = self.inherited
        if session is not None or bound_sessions:
            options = options_in(session_for(session, self.executor), options)
        return carry_out_within(
            self.executor,
            timeout_ms,
            insert_one(
                self.namespace,
                options,
                document,
                bypass_document_validation,
                comment,
            ),
            session,
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
        *,
        timeout_ms=None,
    ):
        """Update the first document that `filter` matches, with ``$`` operators or a pipeline.

        Returns an `UpdateResult`.
        """
        cdef InheritedOptions options = self.inherited
        if session is not None or bound_sessions:
            options = options_in(session_for(session, self.executor), options)
        return carry_out_within(
            self.executor,
            timeout_ms,
            make_update(
                self.namespace,
                options,
                filter,
                update,
                False,
                upsert,
                bypass_document_validation,
                collation,
                array_filters,
                hint,
                let,
                sort,
                comment,
            ),
            session,
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
        *,
        timeout_ms=None,
    ):
        """Update every document that `filter` matches. Returns an `UpdateResult`."""
        cdef InheritedOptions options = self.inherited
        if session is not None or bound_sessions:
            options = options_in(session_for(session, self.executor), options)
        return carry_out_within(
            self.executor,
            timeout_ms,
            make_update(
                self.namespace,
                options,
                filter,
                update,
                True,
                upsert,
                bypass_document_validation,
                collation,
                array_filters,
                hint,
                let,
                None,
                comment,
            ),
            session,
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
        *,
        timeout_ms=None,
    ):
        """Replace the first document that `filter` matches. Returns an `UpdateResult`."""
        cdef InheritedOptions options = self.inherited
        if session is not None or bound_sessions:
            options = options_in(session_for(session, self.executor), options)
        return carry_out_within(
            self.executor,
            timeout_ms,
            replace(
                self.namespace,
                options,
                filter,
                replacement,
                upsert,
                bypass_document_validation,
                collation,
                hint,
                let,
                sort,
                comment,
            ),
            session,
        )

    def delete_one(
        self, filter, collation=None, hint=None, session=None, let=None, comment=None,
        *, timeout_ms=None
    ):
        """Delete the first document that `filter` matches. Returns a `DeleteResult`."""
        cdef InheritedOptions options = self.inherited
        if session is not None or bound_sessions:
            options = options_in(session_for(session, self.executor), options)
        return carry_out_within(
            self.executor,
            timeout_ms,
            delete(
                self.namespace, options, filter, 1, collation, hint, let, comment
            ),
            session,
        )

    def delete_many(
        self, filter, collation=None, hint=None, session=None, let=None, comment=None,
        *, timeout_ms=None
    ):
        """Delete every document that `filter` matches. Returns a `DeleteResult`."""
        cdef InheritedOptions options = self.inherited
        if session is not None or bound_sessions:
            options = options_in(session_for(session, self.executor), options)
        return carry_out_within(
            self.executor,
            timeout_ms,
            delete(
                self.namespace, options, filter, 0, collation, hint, let, comment
            ),
            session,
        )

    def find_one(self, filter=None, *args, **kwargs):
        """The first document that `filter` matches, or None.

        `filter` may also be an ``_id``; further arguments are those of `find`.
        """
        cdef FindQuery query
        cdef Executor executor
        if args or kwargs or bound_sessions or has_modifiers(filter):
            executor = limited_for(self.executor, kwargs.pop("timeout_ms", None))
            query = FindQuery(arguments.filter_or_id(filter), *args, **kwargs)
            session = query.session
            if session is not None or bound_sessions:
                session = session_for(session, executor)
            operation = query.first(self.namespace, options_in(session, self.inherited))
            return carry_out(executor, operation, session)
        return self.executor.execute(find_first(self.namespace, self.inherited, filter))

    def find(self, *args, **kwargs):
        """A `Cursor` over the documents that a filter matches; arguments as PyMongo's `find`."""
        cls = type(self)._cursor_class
        if cls.__init__ is not FIND_CURSOR_INIT or cls.__new__ is not OBJECT_NEW:
            return cls(self, *args, **kwargs)
        # As its `__init__` does it, which would take all those arguments apart first.
        cursor = OBJECT_NEW(cls)
        cursor._core = cls._core_class(self, *args, **kwargs)
        return cursor
