# cython: language_level=3, boundscheck=False, wraparound=False, nonecheck=True
"""`FindQuery`: the arguments of a `find`, checked, and the operation that they become.

It knows PyMongo's arguments (crud specification, "Find"). It must not know cursors: who has the
operation carried out, and may still change the query, is theirs to decide.
"""

from libc.stdint cimport INT64_MAX, int64_t

from mongokey.commands.crud cimport Find
from mongokey.commands.inherited_options cimport InheritedOptions
from mongokey.execution.operation cimport NO_MAX_TIME, Namespace

from mongokey.commands import arguments
from mongokey.errors import InvalidOperation

# `CursorType`: PyMongo's numbers.
cdef enum:
    NON_TAILABLE = 0
    TAILABLE = 2
    TAILABLE_AWAIT = 34
    EXHAUST = 64
    # What else `add_option` knows.
    OPLOG_REPLAY = 8
    NO_TIMEOUT = 16
    PARTIAL = 128

cdef tuple FLAGS = (
    (2, "tailable"),
    (OPLOG_REPLAY, "oplogReplay"),
    (NO_TIMEOUT, "noCursorTimeout"),
    (32, "awaitData"),
    (PARTIAL, "allowPartialResults"),
)

# The oldest form of a query's options, beside its `$query`, and the fields of `find`.
cdef dict MODIFIERS = {
    "$orderby": "sort",
    "$hint": "hint",
    "$comment": "comment",
    "$maxScan": "maxScan",
    "$maxTimeMS": "maxTimeMS",
    "$max": "max",
    "$min": "min",
    "$returnKey": "returnKey",
    "$showRecordId": "showRecordId",
    "$showDiskLoc": "showRecordId",
    "$snapshot": "snapshot",
}
cdef tuple NO_FIELDS = ("$query", "$explain", "$readPreference")


cdef class FindQuery:
    """One query; the arguments are those of PyMongo's `find`.

    Each setter leaves all fields in agreement before what was there is let go, since destructors
    may run then.
    """

    def __init__(
        self,
        filter=None,
        projection=None,
        skip=0,
        limit=0,
        no_cursor_timeout=False,
        cursor_type=NON_TAILABLE,
        sort=None,
        allow_partial_results=False,
        oplog_replay=False,
        batch_size=0,
        collation=None,
        hint=None,
        max_scan=None,
        max_time_ms=None,
        max=None,
        min=None,
        return_key=None,
        show_record_id=None,
        snapshot=None,
        comment=None,
        session=None,
        allow_disk_use=None,
        let=None,
    ):
        self.set_up(
            filter,
            projection,
            skip,
            limit,
            no_cursor_timeout,
            cursor_type,
            sort,
            allow_partial_results,
            oplog_replay,
            batch_size,
            collation,
            hint,
            max_scan,
            max_time_ms,
            max,
            min,
            return_key,
            show_record_id,
            snapshot,
            comment,
            session,
            allow_disk_use,
            let,
        )

    cdef int set_up(
        self,
        filter,
        projection,
        skip,
        limit,
        no_cursor_timeout,
        cursor_type,
        sort,
        allow_partial_results,
        oplog_replay,
        batch_size,
        collation,
        hint,
        max_scan,
        max_time_ms,
        max,
        min,
        return_key,
        show_record_id,
        snapshot,
        comment,
        session,
        allow_disk_use,
        let,
    ) except -1:
        if filter is not None:
            arguments.check_mapping("filter", filter)
        self.session = session
        if cursor_type not in (NON_TAILABLE, TAILABLE, TAILABLE_AWAIT, EXHAUST):
            raise ValueError("not a valid value for cursor_type")
        self.options = {}
        self.filter = filter
        if projection is not None:
            self.projection = arguments.projection_document(projection)
        flags = cursor_type
        if no_cursor_timeout is not False and arguments.check_bool(
            "no_cursor_timeout", no_cursor_timeout
        ):
            flags |= NO_TIMEOUT
        if allow_partial_results is not False and arguments.check_bool(
            "allow_partial_results", allow_partial_results
        ):
            flags |= PARTIAL
        if oplog_replay is not False and arguments.check_bool("oplog_replay", oplog_replay):
            flags |= OPLOG_REPLAY
        if flags:
            self.set_flags(flags, True)
        if max_scan is not None:
            self.options["maxScan"] = max_scan
        if snapshot is not None:
            self.options["snapshot"] = snapshot
        if return_key is not None:
            self.options["returnKey"] = return_key
        if show_record_id is not None:
            self.options["showRecordId"] = show_record_id
        if comment is not None:
            self.options["comment"] = comment
        if allow_disk_use is not None:
            self.options["allowDiskUse"] = allow_disk_use
        if let is not None:
            self.options["let"] = let
        self.set_skip(skip)
        self.set_limit(limit)
        self.set_batch_size(batch_size)
        # Frameworks give an empty list for none; `Cursor.sort` refuses it.
        if sort is not None and sort != []:
            self.set_sort(sort, None)
        if hint is not None:
            self.set_hint(hint)
        if collation is not None:
            self.set_option("collation", collation)
        if max_time_ms is not None:
            self.set_option("maxTimeMS", max_time_ms)
        if max is not None:
            self.set_option("max", max)
        if min is not None:
            self.set_option("min", min)
        return 0

    cpdef int set_limit(self, limit) except -1:
        """At most so many documents; 0: all, a negative number: in a single batch."""
        cdef int64_t most
        if not isinstance(limit, int):
            arguments.refuse_type("limit", "an integer", limit)
        if limit and self.exhaust:
            raise InvalidOperation("Can't use limit and exhaust together.")
        most = arguments.as_int64("limit", -limit if limit < 0 else limit)
        self.single_batch = limit < 0
        self.empty = False
        self.limit = most
        return 0

    cpdef int set_skip(self, skip) except -1:
        if not isinstance(skip, int):
            arguments.refuse_type("skip", "an integer", skip)
        if skip < 0:
            raise ValueError("skip must be >= 0")
        self.skip = arguments.as_int64("skip", skip)
        return 0

    cpdef int set_batch_size(self, batch_size) except -1:
        if not isinstance(batch_size, int):
            arguments.refuse_type("batch_size", "an integer", batch_size)
        if batch_size < 0:
            raise ValueError("batch_size must be >= 0")
        self.batch_size = arguments.as_int64("batch_size", batch_size)
        return 0

    cpdef int set_sort(self, key_or_list, direction) except -1:
        sort = arguments.index_document(arguments.index_pairs(key_or_list, direction))
        _old, self.sort = self.sort, sort
        return 0

    cpdef int set_hint(self, index) except -1:
        """An index, by its name or its keys; None takes a hint back."""
        hint = arguments.hint_value(index)
        _old, self.hint = self.hint, hint
        return 0

    cpdef int set_option(self, str name, value) except -1:
        """A further field of the command; None takes it back."""
        if name == "maxTimeMS":
            if value is not None and not isinstance(value, int):
                arguments.refuse_type("max_time_ms", "an integer or None", value)
        elif name == "allowDiskUse":
            if not isinstance(value, bool):
                arguments.refuse_type("allow_disk_use", "a bool", value)
        elif name == "collation":
            value = arguments.collation_document(value)
        elif name in ("min", "max"):
            value = arguments.index_document(arguments.index_pairs(value))
        if value is None:
            self.options.pop(name, None)
        else:
            self.options[name] = value
        return 0

    def set_flags(self, mask, bint on):
        """Set the flags in `mask`, PyMongo's numbers, or take them back."""
        if not isinstance(mask, int):
            arguments.refuse_type("mask", "an integer", mask)
        if mask & EXHAUST:
            if on and self.limit:
                raise InvalidOperation("Can't use limit and exhaust together.")
            self.exhaust = on
        for flag, name in FLAGS:
            if mask & flag:
                if on:
                    self.options[name] = True
                else:
                    self.options.pop(name, None)
        self.tailable = "tailable" in self.options

    @property
    def flags(self):
        """The flags that are set, as PyMongo's numbers."""
        return sum(
            [flag for flag, name in FLAGS if self.options.get(name)], EXHAUST if self.exhaust else 0
        )

    def set_max_await_time_ms(self, max_await_time_ms):
        """How long a getMore waits for documents; nothing, unless the cursor is tailable-await."""
        if max_await_time_ms is not None and not isinstance(max_await_time_ms, int):
            arguments.refuse_type("max_await_time_ms", "an integer or None", max_await_time_ms)
        if self.tailable and "awaitData" in self.options and max_await_time_ms is not None:
            self.get_more_extras = {"maxTimeMS": max_await_time_ms}

    def set_filter(self, filter):
        """Another filter."""
        _old, self.filter = self.filter, filter

    def set_slice(self, start, stop):
        """The documents from `start` on, up to and without `stop` (None: all)."""
        limit = 0
        if stop is not None:
            limit = stop - start
            if limit < 0:
                raise IndexError(
                    f"stop index must be greater than start index for slice {slice(start, stop)!r}"
                )
        self.set_skip(start)
        self.set_limit(limit)
        self.empty = stop is not None and limit == 0

    def copy(self):
        """The same query, to be changed without changing this one."""
        cdef FindQuery made = FindQuery.__new__(FindQuery)
        made.filter = self.filter
        made.projection = self.projection
        made.sort = self.sort
        made.hint = self.hint
        made.skip = self.skip
        made.limit = self.limit
        made.batch_size = self.batch_size
        made.single_batch = self.single_batch
        made.empty = self.empty
        made.tailable = self.tailable
        made.exhaust = self.exhaust
        made.options = dict(self.options)
        made.get_more_extras = self.get_more_extras
        made.session = self.session
        return made

    def deep_copy(self, memo):
        """The same query, with copies of its filter and options."""
        from copy import deepcopy

        cdef FindQuery made = self.copy()
        made.filter = deepcopy(self.filter, memo)
        made.options = deepcopy(self.options, memo)
        return made

    def document(self):
        """Filter, projection, sort and the other fields of the command, for `explain`."""
        if self.filter is not None and "$query" in self.filter:
            return _without_modifiers(self).document()
        document = {"filter": self.filter or {}}
        for name, value in (
            ("projection", self.projection),
            ("sort", self.sort),
            ("skip", self.skip),
            ("limit", self.limit),
            ("batchSize", self.batch_size),
            ("singleBatch", self.single_batch),
            ("hint", self.hint),
        ):
            if value:
                document[name] = value
        document.update(self.options)
        return document

    cdef Find operation(self, Namespace namespace, InheritedOptions options):
        cdef Find operation = Find.__new__(Find)
        operation.namespace = namespace
        operation.context = options.context
        if self.filter is not None and "$query" in self.filter:
            return _without_modifiers(self).operation(namespace, options)
        operation.filter = self.filter
        operation.projection = self.projection
        operation.sort = self.sort
        operation.skip = self.skip
        operation.limit = self.limit
        operation.single_batch = self.single_batch
        operation.batch_size = self.batch_size
        if (
            self.limit
            and operation.batch_size == self.limit
            and not self.single_batch
            and self.limit < INT64_MAX
        ):
            # A server that stops at the end of the batch does not see that it was the last, and
            # would leave the cursor open: with one more to look for, it meets the limit.
            operation.batch_size += 1
        extras = dict(self.options) if self.options else {}
        if self.hint is not None:
            extras["hint"] = self.hint
        elif "min" in extras or "max" in extras:
            raise InvalidOperation(
                "Passing a 'hint' is required when using min or max: call hint() with the index "
                "whose bounds they are"
            )
        operation.extras = extras or None
        if self.tailable:
            operation.tailable = True
            if "awaitData" not in self.options:
                # Servers apply it to all getMores together (SERVER-51153).
                operation.max_time = NO_MAX_TIME
        operation.retryable_read = True
        operation.exhaust = self.exhaust
        operation.criteria = options.criteria
        operation.read_concern = options.read_concern_element
        return operation

    cdef Find first(self, Namespace namespace, InheritedOptions options):
        """The first document alone, or None."""
        cdef Find operation
        self.set_limit(-1)
        operation = self.operation(namespace, options)
        operation.first_only = True
        return operation

    cdef dict extras_of_get_more(self):
        if "comment" not in self.options:
            return self.get_more_extras
        return dict(self.get_more_extras or {}, comment=self.options["comment"])


cdef FindQuery _without_modifiers(FindQuery query):
    """The query whose filter is ``{"$query": ..., "$orderby": ...}``, as one of today: what the
    modifiers say goes where nothing else does."""
    cdef FindQuery made = query.copy()
    made.filter = query.filter["$query"]
    given = {
        MODIFIERS.get(name, name): value
        for name, value in query.filter.items()
        if name not in NO_FIELDS
    }
    sort = given.pop("sort", None)
    if made.sort is None:
        made.sort = sort
    hint = given.pop("hint", None)
    if made.hint is None:
        made.hint = hint
    made.options = {**given, **made.options}
    return made
