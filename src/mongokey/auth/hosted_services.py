"""What hosted services mean by refusing a login.

Knows Atlas, Amazon DocumentDB and Azure Cosmos DB: their codes and what their users are; which
hosts are theirs, `mongokey._support.hosted_services` knows. Must not know how a login is carried
out, nor show a password.
"""

from __future__ import annotations

from mongokey._support.hosted_services import (
    is_atlas,
    is_cosmos,
    is_cosmos_vcore,
    is_documentdb,
    is_hosted,
)
from mongokey._support.server_codes import (
    ATLAS_ERROR,
    BAD_VALUE,
    DOCUMENTDB_UNSUPPORTED,
    MECHANISM_UNAVAILABLE,
    UNAUTHORIZED,
)
from mongokey._support.server_codes import LOGIN_REFUSED_CODES as REFUSALS
from mongokey.diagnostics import LIKELY, POSSIBLE, Diagnosis

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.login_context import LoginContext


def was_hosted(code: Any, host: str) -> bool:
    """Whether a service answered, by its host or by its code."""
    return code in (ATLAS_ERROR, DOCUMENTDB_UNSUPPORTED) or is_hosted(host)


def was_atlas(code: Any, host: str) -> bool:
    """Whether Atlas answered, by its host or by its code."""
    return code == ATLAS_ERROR or is_atlas(host)


def service_rule(code: Any, context: LoginContext) -> Diagnosis | None:
    """What the service means whose host this is, or whose code."""
    host = context.address[0]
    if is_documentdb(host) or code == DOCUMENTDB_UNSUPPORTED:
        return _documentdb(code, context)
    if is_cosmos_vcore(host):
        return _cosmos_vcore(code)
    if is_cosmos(host):
        return cosmos_rule(code, context.credential, host)
    if code in REFUSALS and was_atlas(code, host):
        return _atlas()
    return None


def _atlas() -> Diagnosis:
    return Diagnosis(
        "AUTH-ATLAS",
        LIKELY,
        "Atlas refuses like this when the password is wrong or the user is not a database user of "
        "this project",
        fix="see Database Access there (it is not your Atlas login), whether the user is "
        "restricted to other clusters, has expired or is not deployed yet, and set the password "
        "anew",
    )


def _documentdb(code: Any, context: LoginContext) -> Diagnosis | None:
    if code in (DOCUMENTDB_UNSUPPORTED, BAD_VALUE, MECHANISM_UNAVAILABLE):
        return Diagnosis(
            "AUTH-DOCUMENTDB",
            LIKELY,
            f"this DocumentDB does not have {context.mechanism} for this user: before 5.0.1 and "
            "8.0.1 it has only SCRAM-SHA-1 for passwords, and an IAM user logs in by MONGODB-AWS "
            "alone",
        )
    if code not in REFUSALS:
        return None
    return Diagnosis(
        "AUTH-DOCUMENTDB",
        POSSIBLE,
        "a DocumentDB user has either a password (SCRAM) or MONGODB-AWS, never both, and is not an "
        "AWS account: it is the cluster's master user or one made by createUser",
    )


def _cosmos_vcore(code: Any) -> Diagnosis | None:
    if code not in REFUSALS and code not in (BAD_VALUE, MECHANISM_UNAVAILABLE):
        return None
    return Diagnosis(
        "AUTH-COSMOS",
        POSSIBLE,
        "Cosmos DB for MongoDB (vCore) knows the name and password of the cluster's administrator, "
        "by SCRAM-SHA-256 only",
        fix="leave authMechanism out, or reset the password in the portal",
    )


def cosmos_rule(code: Any, credential: MongoCredential, host: str) -> Diagnosis | None:
    """What Cosmos DB (RU) means by refusing a login, or a command because of one."""
    if code not in REFUSALS and code != UNAUTHORIZED:
        return None
    account = host.partition(".")[0]
    if account.lower() != (credential.username or "").lower():
        return Diagnosis(
            "AUTH-COSMOS",
            LIKELY,
            f"Cosmos DB takes the account's name as user name, here {account!r}, not "
            f"{credential.shown_user!r}",
        )
    if credential.password is not None and not credential.password.endswith("=="):
        return Diagnosis(
            "AUTH-COSMOS",
            LIKELY,
            "the password of Cosmos DB is one of the account's keys, which end with ==, and this "
            "one does not: it was cut, or == was lost (in a connection string write %3D%3D)",
        )
    return Diagnosis(
        "AUTH-COSMOS",
        POSSIBLE,
        "the password of Cosmos DB is one of the account's keys: it may have been regenerated "
        "since (see Connection strings in the portal), or be a read-only one",
    )
