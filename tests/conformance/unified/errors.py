"""Whether an operation's error is the one that a test expects (expectedError of the format).

It knows the driver's error classes; results in errors are made into documents by `results`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tests.conformance.unified.drivers import Driver, RunnerError, only
from tests.conformance.unified.matching import UNSET, Matcher, Mismatch
from tests.conformance.unified.results import bulk_result_of_error


def check_error(
    driver: Driver, matcher: Matcher, error: Exception, expected: Mapping[str, Any]
) -> None:
    """Raise `Mismatch` unless the error is as expected."""
    only(
        expected,
        "isError",
        "isClientError",
        "isTimeoutError",
        "errorContains",
        "errorCode",
        "errorCodeName",
        "errorLabelsContain",
        "errorLabelsOmit",
        "errorResponse",
        "expectResult",
        "writeErrors",
        "writeConcernErrors",
    )
    whole = error
    if isinstance(error, driver.errors.ClientBulkWriteException) and error.error is not None:
        # The format: the error that ended the bulk is the one that a test speaks of.
        error = error.error
    if expected.get("isError") is False:
        raise RunnerError("isError: false says nothing")
    if "isClientError" in expected:
        _require(is_client_error(driver, error), expected["isClientError"], "isClientError", error)
    if "isTimeoutError" in expected:
        is_timeout = getattr(error, "timeout", False)
        _require(is_timeout, expected["isTimeoutError"], "isTimeoutError", error)
    if "errorContains" in expected:
        text = expected["errorContains"]
        _require(text.lower() in str(error).lower(), True, f"errorContains {text!r}", error)
    if "errorCode" in expected:
        code = (_response(error) or {}).get("code", getattr(error, "code", None))
        _require(code, expected["errorCode"], "errorCode", error)
    if "errorCodeName" in expected:
        name = expected["errorCodeName"]
        names = {str(each).lower() for each in _code_names(error)}
        _require(name.lower() in names, True, f"errorCodeName {name}", error)
    for label in expected.get("errorLabelsContain", ()):
        _require(_has_label(error, label), True, f"label {label}", error)
    for label in expected.get("errorLabelsOmit", ()):
        _require(_has_label(error, label), False, f"label {label}", error)
    if "errorResponse" in expected:
        response = _response(error)
        if response is None:
            raise Mismatch(f"errorResponse: {error!r} has no answer of a server")
        matcher.match(expected["errorResponse"], response, root=True, path="errorResponse")
    if "expectResult" in expected:
        result = bulk_result_of_error(driver, whole)
        actual = UNSET if result is None else result
        matcher.match(expected["expectResult"], actual, path="the error's result")
    if "writeErrors" in expected or "writeConcernErrors" in expected:
        _check_errors_of_bulk(matcher, whole, expected)


def _check_errors_of_bulk(matcher: Matcher, error: Any, expected: Mapping[str, Any]) -> None:
    """Compare the errors of single writes, and of write concerns, that a client's bulk has."""
    if "writeErrors" in expected:
        found = {str(each["idx"]): _as_error(each) for each in error.write_errors}
        _require(sorted(found), sorted(expected["writeErrors"]), "indexes of writeErrors", error)
        for index, wanted in expected["writeErrors"].items():
            matcher.match(wanted, found[index], root=True, path=f"writeErrors.{index}")
    if "writeConcernErrors" in expected:
        wanted = expected["writeConcernErrors"]
        concern_errors = [_as_error(each) for each in error.write_concern_errors]
        _require(len(concern_errors), len(wanted), "number of writeConcernErrors", error)
        matcher.match_roots(wanted, concern_errors, "writeConcernErrors")


def _as_error(document: Mapping[str, Any]) -> dict[str, Any]:
    """An error of the server's under the specification's names: `errmsg` is its message."""
    return {**document, "message": document.get("errmsg")}


def is_client_error(driver: Driver, error: Exception) -> bool:
    """Whether an error is not made from a server's answer."""
    return not isinstance(error, driver.errors.OperationFailure | driver.errors.NotPrimaryError)


def _require(actual: Any, expected: Any, what: str, error: Exception) -> None:
    if actual != expected:
        raise Mismatch(f"{what}: expected {expected}, was {actual} of {error!r}")


def _has_label(error: Exception, label: str) -> bool:
    has = getattr(error, "has_error_label", None)
    return has is not None and bool(has(label))


def _response(error: Exception) -> Mapping[str, Any] | None:
    details = getattr(error, "details", None)
    return details if isinstance(details, Mapping) else None


def _code_names(error: Exception) -> Iterator[Any]:
    """The `codeName`s of an error, of each write too where there are several."""
    response = _response(error) or {}
    parts = [response, *response.get("writeErrors", ()), *response.get("writeConcernErrors", ())]
    parts.append(response.get("writeConcernError") or {})
    for part in parts:
        if "codeName" in part:
            yield part["codeName"]
