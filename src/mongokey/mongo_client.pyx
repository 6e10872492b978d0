# cython: language_level=3, nonecheck=True
"""`MongoClient`, under PyMongo's name: one deployment, its options, its databases.

It puts the rooms together: options, metadata, connections, pools, topology and the executor.
It must not know commands beyond the few about a whole deployment, nor how anything travels.
"""

import weakref
from functools import partial
from threading import RLock

from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.blocking_cores cimport BlockingClient
from mongokey.pool.pool cimport Pool

from mongokey.commands import arguments as arguments
from mongokey.commands.housekeeping import end_sessions, kill_pending_cursors
from mongokey._support.address import format_address
from mongokey._support.clock import monotonic
from mongokey._support.deadline import Timeout, shortest
from mongokey._support.fork import call_after_fork
from mongokey._support.lazy import import_late
from mongokey.client_options import ClientOptions
from mongokey.database import Database
from mongokey.errors import ConfigurationError, InvalidOperation
from mongokey.execution.blocking import BlockingExecutor
from mongokey.topology.topology import Topology

cdef dict late_modules = {}


cdef object late(str name):
    """A module that the first connection loads. Once it is there, an import statement would cost
    more than it gives."""
    found = late_modules.get(name)
    if found is None:
        found = late_modules[name] = import_late(name)
    return found


class ClientContext:
    """Makes the connections and pools of one client; refers to no client, so that a client
    nobody refers to is gone at once."""

    def __init__(self, options):
        self.options = options
        # Weak references to what must not be kept alive from here.
        self.topology = None
        self.executor = None
        self.on_login = None
        self._settings = None
        # Reentrant: a signal handler may use the client whose thread it interrupted.
        self._making = RLock()
        self._closed = False
        call_after_fork(self)

    def reset_after_fork(self):
        """In a forked child: who held the lock may be a thread of the parent's."""
        self._making = RLock()

    def discover(self):
        """Ask DNS, which was put off until the first operation: (seeds, replica set's name)."""
        self.options = check_supported(self.options.resolved())
        return self.options.hosts, self.options.replica_set_name

    def settings(self):
        """What connections share; made at the first one, so that a client costs little, and once,
        however many threads come first."""
        if self._settings is None:
            with self._making:
                if self._settings is None:
                    self._settings = self._make_settings()
        return self._settings

    def _make_settings(self):
        pool_options = self.options.pool_options
        tls = None
        if pool_options.tls is not None:
            tls = late("mongokey.transport.tls.context").ClientTLS(pool_options.tls)
        metadata = late("mongokey.handshake").ClientMetadata(
            pool_options.appname, pool_options.driver
        )
        settings = late("mongokey.connection.settings").ConnectionSettings(
            metadata=metadata,
            credential=self.options.credential,
            connect_timeout=Timeout.from_seconds(pool_options.connect_timeout, "connectTimeoutMS"),
            socket_timeout=Timeout.from_seconds(pool_options.socket_timeout, "socketTimeoutMS"),
            tls=tls,
            server_api=pool_options.server_api,
            timeout=Timeout.from_seconds(self.options.timeout, "timeoutMS"),
        )
        if self._closed:
            settings.openings.end()
        return settings

    def clock(self):
        """The seconds that selection counts: not those in which a login waits for a person."""
        return monotonic() if self._settings is None else self._settings.pausable_clock.clock()

    def remember_caller(self):
        """Warnings of the threads that connect now are to point at the program."""
        exposure = self.settings().plaintext_warner
        if exposure is not None:
            exposure.remember_caller()

    def connect(self, address, judge, to_be_used):
        """A connection, logged in, whose server `judge` has nothing against; for `Topology`."""
        connection, result = late("mongokey.connection.establish").open_connection(
            address, self.settings(), judge, to_be_used=to_be_used
        )
        if self.on_login is not None:
            self.on_login(address, result)
        return connection

    def connect_for_pool(self, address):
        """One more connection of the pool for `address`, if its server is still what it was."""
        topology = self.topology()
        if topology is None:
            raise InvalidOperation("Cannot use MongoClient after close")
        return self.connect(
            address, partial(topology.review, address), topology.is_selected(address)
        )

    def make_pool(self, address):
        pool_options = self.options.pool_options
        pool = Pool(
            address,
            partial(self.connect_for_pool, address),
            max_size=pool_options.max_pool_size or 0,
            min_size=pool_options.min_pool_size,
            max_connecting=pool_options.max_connecting,
            max_idle_ns=pool_options.max_idle_time_ns or 0,
            wait_queue_timeout=Timeout.from_seconds(
                pool_options.wait_queue_timeout, "waitQueueTimeoutMS"
            ),
        )
        if pool_options.min_pool_size or pool_options.max_idle_time_ns:
            self.maintenance().maintain()
        return pool

    def maintenance(self):
        """The client's maintenance thread, made when it is first needed."""
        found = self.__dict__.get("_maintenance")
        if found is None:
            # In one step: whoever makes one at the same time gets the same.
            found = self.__dict__.setdefault(
                "_maintenance",
                late("mongokey.pool.maintenance").PoolMaintenance(
                    self.topology(), partial(tidy, self.executor), prunes=False
                ),
            )
        return found

    def explain(self, answer, address, database):
        """What an error of a command most likely means, a hint or None."""
        # Late: only failures are explained.
        from mongokey.auth.diagnosis import explain_command

        return explain_command(answer, self.options.credential, address, database)

    def stop(self):
        """End what connects or logs in now, and the maintenance thread."""
        self._closed = True
        if self._settings is not None:
            self._settings.openings.end()
        keeper = self.__dict__.get("_maintenance")
        if keeper is not None:
            keeper.stop()


cdef class MongoClient(BlockingClient):
    """A client of one MongoDB deployment: thread-safe, with a pool of connections.

    :param host: host name, ``host:port``, a ``mongodb://`` or ``mongodb+srv://`` URI, the path of
        a Unix socket, or a list of those; default ``localhost``
    :param port: the port of hosts that name none; default 27017
    :param document_class: what documents are decoded as; default dict
    :param tz_aware: whether datetimes are decoded with a time zone; default False
    :param connect: False leaves even the DNS questions of a ``mongodb+srv://`` URI to the first
        operation; default True, in function services False
    :param type_registry: codecs for further types, a `TypeRegistry`
    :param kwargs: the URI's options as keywords (see docs), which go before the URI's

    No server is connected before the first operation. Raises `InvalidURI` for a URI that cannot be
    read, and `ConfigurationError` for wrong options and hosts that DNS does not know.
    """

    HOST = "localhost"
    PORT = 27017
    _database_class = Database

    def __init__(
        self,
        host=None,
        port=None,
        document_class=None,
        tz_aware=None,
        connect=None,
        type_registry=None,
        **kwargs,
    ):
        for name, value in (
            ("document_class", document_class),
            ("tz_aware", tz_aware),
            ("connect", connect),
            ("type_registry", type_registry),
        ):
            if value is not None:
                kwargs[name] = value
        options = ClientOptions.build(host, port, _stacklevel=2, _may_defer=True, **kwargs)
        check_supported(options)
        self.inherited = InheritedOptions(
            options.codec_options,
            options.read_preference,
            options.write_concern,
            options.read_concern,
        )
        self._context = ClientContext(options)
        whole = Timeout.from_seconds(options.timeout, "timeoutMS")
        selection = Timeout(
            round(options.server_selection_timeout * 1e9), "serverSelectionTimeoutMS"
        )
        connecting = Timeout.from_seconds(options.pool_options.connect_timeout, "connectTimeoutMS")
        self._topology = Topology(
            options.hosts,
            self._context.connect,
            self._context.make_pool,
            selection_timeout=shortest(selection, whole),
            before_thread=self._context.remember_caller,
            connect_limit=shortest(connecting, whole),
            direct_connection=bool(options.direct_connection),
            replica_set=options.replica_set_name,
            discover=self._context.discover if options.needs_dns else None,
            clock=self._context.clock,
            # As long as one attempt may take; but a proxy without a server behind it hangs up too,
            # so a short connectTimeoutMS does not make a program give up while things start.
            tls_patience_s=max(options.pool_options.connect_timeout or 20.0, 10.0),
        )
        self._context.topology = weakref.ref(self._topology)
        server_api = options.pool_options.server_api
        self.executor = BlockingExecutor(
            self._topology,
            retry_reads=options.retry_reads,
            retry_writes=options.retry_writes,
            direct=bool(options.direct_connection),
            server_api=None if server_api is None else server_api_elements(server_api),
            explain=self._context.explain,
            make_maintenance=self._context.maintenance,
        )
        self._context.executor = weakref.ref(self.executor)

    @property
    def options(self):
        """What this client was told, a `ClientOptions`."""
        return self._context.options

    # -- connecting ---------------------------------------------------------------------------

    def _on_login(self, callback):
        """Call ``callback(address, LoginResult)`` after each login; for tools and tests."""
        self._context.on_login = callback

    @property
    def _tls(self):
        """The client's ClientTLS, None without TLS; for tools and tests."""
        return self._context.settings().tls

    def append_metadata(self, driver_info):
        """Add a `DriverInfo` of a wrapping library to what new connections tell the server."""
        from mongokey.driver_info import DriverInfo

        if not isinstance(driver_info, DriverInfo):
            arguments.refuse_type("driver_info", "a DriverInfo", driver_info)
        self._context.settings().metadata.append(driver_info)

    def close(self):
        """End the server sessions and close every connection. The client cannot be used again.

        What is told to servers that do not answer is given up after 3 seconds.
        """
        try:
            end_sessions(self.executor)
        finally:
            try:
                self.executor.close()
            finally:
                self._context.stop()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()

    def __del__(self):
        if self.executor is None or self.executor.closed:
            return
        # Sockets are closed; sessions are left to time out: a destructor must not wait. Cursors
        # that were let go just before are killed, by a thread that may wait.
        if self.executor.has_pending_cursors and self._context.maintenance().wake(
            partial(finish, self.executor, self._topology)
        ):
            self._context.stop()
            return
        self._context.stop()
        self._topology.close()

    # -- the object ----------------------------------------------------------------------------

    def _identity(self):
        return (
            tuple(sorted(self._topology.seeds, key=str)),
            self.options.replica_set_name,
            None if self.options.connection_string is None else self.options.connection_string.fqdn,
        )

    def __eq__(self, other):
        if isinstance(other, MongoClient):
            return self._identity() == other._identity()
        return NotImplemented

    def __hash__(self):
        return hash(self._identity())

    def __repr__(self):
        if self._topology is None:
            return f"<{type(self).__name__}, not initialized>"
        hosts = [format_address(seed) for seed in self._topology.seeds]
        if self.options.needs_dns:
            hosts.append(f"mongodb+srv://{self.options.connection_string.fqdn}")
        credential = self.options.credential
        login = "" if credential is None else f", {credential!r}"
        return f"{type(self).__name__}(host={hosts!r}{login})"

    def __bool__(self):
        return True

    def get_database(
        self,
        name=None,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
    ):
        """The database `name`; without a name, the one in the URI's path.

        Raises `ConfigurationError` if there is neither.
        """
        if name is None:
            name = self._default_name(None)
        return Database(self, name, codec_options, read_preference, write_concern, read_concern)

    def get_default_database(
        self,
        default=None,
        codec_options=None,
        read_preference=None,
        write_concern=None,
        read_concern=None,
    ):
        """The database in the URI's path, or `default`.

        Raises `ConfigurationError` if there is neither.
        """
        return Database(
            self,
            self._default_name(default),
            codec_options,
            read_preference,
            write_concern,
            read_concern,
        )

    def _default_name(self, default):
        name = self.options.database or default
        if name is None:
            raise ConfigurationError(
                "No default database name defined or provided: put it in the URI's path "
                "(mongodb://host/name) or give a name"
            )
        return name

    # -- the deployment --------------------------------------------------------------------------

    def _pool(self):
        """The selected server's pool, selecting it if need be."""
        return self._topology.select()

    @property
    def address(self):
        """(host, port) of the server that operations go to; finds it if need be."""
        return self._pool().address

    @property
    def primary(self):
        """(host, port) of the writable server, or None while none is known."""
        current = self._topology.current
        if current is None or not current.description.is_writable:
            return None
        return current.address

    @property
    def nodes(self):
        """The addresses of the servers that were reached, a frozenset."""
        return frozenset(pool.address for pool in self._topology.pools)

    @property
    def is_primary(self):
        """Whether the server that operations go to takes writes."""
        return self._pool().description.is_writable

    @property
    def is_mongos(self):
        """Whether the server that operations go to is a router of a sharded cluster."""
        return self._pool().description.is_mongos

    def server_info(self, session=None):
        """The server's ``buildInfo``, a dict."""
        return self["admin"].command("buildInfo", session=session)

    def list_databases(self, session=None, comment=None, **kwargs):
        """A cursor over the databases, a document for each."""
        from mongokey.cursor import CommandCursor

        reply = self["admin"].command("listDatabases", session=session, comment=comment, **kwargs)
        return CommandCursor._of(reply["databases"])

    def list_database_names(self, session=None, comment=None):
        """The names of the databases, a list."""
        reply = self["admin"].command(
            "listDatabases", session=session, comment=comment, nameOnly=True
        )
        return [each["name"] for each in reply["databases"]]

    def drop_database(self, name_or_database, session=None, comment=None):
        """Drop a database, given by its name or itself."""
        from mongokey.commands.databases import drop_database

        name = name_or_database
        if isinstance(name, Database):
            name = name.name
        self._execute(drop_database(self.inherited, name, session, comment))


def tidy(executor):
    """Kill the cursors that were let go; False if some are left. `executor` is a weak reference."""
    executor = executor()
    return executor is None or kill_pending_cursors(executor)


def finish(executor, topology):
    """The end of a client that nobody refers to any more."""
    try:
        kill_pending_cursors(executor)
    finally:
        topology.close()


cdef object check_supported(options):
    if options.load_balanced:
        raise ConfigurationError("loadBalanced=true is not supported by this version of mongokey")
    return options


cdef bytes server_api_elements(api):
    """`apiVersion` and kin, as elements of each command (versioned-api specification)."""
    from mongokey.bson import encode
    from mongokey.handshake.hello import api_fields

    return encode(api_fields(api))[4:-1]
