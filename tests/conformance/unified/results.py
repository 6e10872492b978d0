"""Results of operations as the documents that the CRUD specification describes.

It knows the result classes; a field that PyMongo's result does not have is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.conformance.unified.drivers import Driver


def as_is(driver: Driver, result: Any) -> Any:
    return result


def nothing(driver: Driver, result: Any) -> None:
    return None


def insert_one(driver: Driver, result: Any) -> dict[str, Any]:
    return _acknowledged(result, insertedId=result.inserted_id)


def insert_many(driver: Driver, result: Any) -> dict[str, Any]:
    ids = {str(index): each for index, each in enumerate(result.inserted_ids)}
    return _acknowledged(result, insertedIds=ids)


def update(driver: Driver, result: Any) -> dict[str, Any]:
    if not result.acknowledged:
        return _acknowledged(result)
    document = {
        "matchedCount": result.matched_count,
        "modifiedCount": result.modified_count,
        "upsertedCount": int(result.did_upsert),
    }
    if result.did_upsert:
        document["upsertedId"] = result.upserted_id
    return document


def delete(driver: Driver, result: Any) -> dict[str, Any]:
    if not result.acknowledged:
        return _acknowledged(result)
    return {"deletedCount": result.deleted_count}


def bulk_write(driver: Driver, result: Any) -> dict[str, Any]:
    if not result.acknowledged:
        return _acknowledged(result)
    return {
        "insertedCount": result.inserted_count,
        "matchedCount": result.matched_count,
        "modifiedCount": result.modified_count,
        "deletedCount": result.deleted_count,
        "upsertedCount": result.upserted_count,
        "upsertedIds": {str(index): each for index, each in (result.upserted_ids or {}).items()},
    }


def rewrapped(driver: Driver, result: Any) -> dict[str, Any]:
    done = result.bulk_write_result
    return {} if done is None else {"bulkWriteResult": bulk_write(driver, done)}


def client_bulk_write(driver: Driver, result: Any) -> dict[str, Any]:
    if not result.acknowledged:
        return _acknowledged(result)
    found: dict[str, Any] = {
        "insertedCount": result.inserted_count,
        "matchedCount": result.matched_count,
        "modifiedCount": result.modified_count,
        "deletedCount": result.deleted_count,
        "upsertedCount": result.upserted_count,
    }
    if result.has_verbose_results:
        found["insertResults"] = {
            str(index): {"insertedId": each.inserted_id}
            for index, each in result.insert_results.items()
        }
        found["updateResults"] = {
            str(index): {
                "matchedCount": each.matched_count,
                "modifiedCount": each.modified_count,
                **({"upsertedId": each.upserted_id} if each.did_upsert else {}),
            }
            for index, each in result.update_results.items()
        }
        found["deleteResults"] = {
            str(index): {"deletedCount": each.deleted_count}
            for index, each in result.delete_results.items()
        }
    return found


def bulk_result_of_error(driver: Driver, error: Exception) -> dict[str, Any] | None:
    """The result that the error of a bulk carries, or None for another error."""
    if isinstance(error, driver.errors.ClientBulkWriteException):
        partial = error.partial_result
        return None if partial is None else client_bulk_write(driver, partial)
    if not isinstance(error, driver.errors.BulkWriteError):
        # Of another error mongokey tells it too; PyMongo does not.
        partial = getattr(error, "partial_result", None)
        return None if partial is None else bulk_write(driver, partial)
    details: Mapping[str, Any] = error.details
    return bulk_write(driver, driver.module("results").BulkWriteResult(dict(details), True))


def _acknowledged(result: Any, **fields: Any) -> dict[str, Any]:
    if not result.acknowledged:
        return {"acknowledged": False}
    return fields
