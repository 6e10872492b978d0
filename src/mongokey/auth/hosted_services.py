"""What hosted services mean by refusing a login, recognized by the end of their host names.

Knows Atlas, Amazon DocumentDB and Azure Cosmos DB: their codes and what their users are. Must not
know how a login is carried out, nor show a password.
"""

from __future__ import annotations

from mongokey.auth.hints import (
    ATLAS_ERROR,
    BAD_VALUE,
    LIKELY,
    MECHANISM_UNAVAILABLE,
    POSSIBLE,
    REFUSALS,
    UNAUTHORIZED,
    Hint,
)

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.credential import MongoCredential
    from mongokey.auth.diagnosis import LoginContext

# DocumentDB's for a mechanism that it does not have.
_DOCUMENTDB_UNSUPPORTED = -301

_ATLAS_HOSTS = (".mongodb.net", ".mongodbgov.net")
_DOCUMENTDB_HOSTS = (
    ".docdb.amazonaws.com",
    ".docdb.amazonaws.com.cn",
    ".docdb-elastic.amazonaws.com",
)
_COSMOS_VCORE_HOSTS = (".mongocluster.cosmos.azure.com",)
_COSMOS_HOSTS = (".documents.azure.com", ".mongo.cosmos.azure.com")


def provider_hint(code: Any, facts: LoginContext) -> Hint | None:
    """The hint about the service whose host this is, or whose code."""
    host = facts.address[0].lower()
    if host.endswith(_DOCUMENTDB_HOSTS) or code == _DOCUMENTDB_UNSUPPORTED:
        return _documentdb(code, facts)
    if host.endswith(_COSMOS_VCORE_HOSTS):
        return _cosmos_vcore(code)
    if is_cosmos(host):
        return cosmos_hint(code, facts.credential, host)
    if code in REFUSALS and is_atlas(code, host):
        return _atlas()
    return None


def is_hosted(code: Any, host: str) -> bool:
    """Whether a service answered whose host is this, or whose code."""
    return code in (ATLAS_ERROR, _DOCUMENTDB_UNSUPPORTED) or host.lower().endswith(
        (*_ATLAS_HOSTS, *_DOCUMENTDB_HOSTS, *_COSMOS_HOSTS, *_COSMOS_VCORE_HOSTS)
    )


def is_atlas(code: Any, host: str) -> bool:
    """Whether Atlas answered."""
    return code == ATLAS_ERROR or host.lower().endswith(_ATLAS_HOSTS)


def is_cosmos(host: str) -> bool:
    """Whether a host is a Cosmos DB account that counts request units, not a vCore cluster."""
    return host.lower().endswith(_COSMOS_HOSTS)


def _atlas() -> Hint:
    return Hint(
        "AUTH-ATLAS",
        LIKELY,
        "Atlas refuses like this when the password is wrong or the user is not a database user of "
        "this project: see Database Access there (it is not your Atlas login), whether the user is "
        "restricted to other clusters, has expired or is not deployed yet, and set the password "
        "anew",
    )


def _documentdb(code: Any, facts: LoginContext) -> Hint | None:
    if code in (_DOCUMENTDB_UNSUPPORTED, BAD_VALUE, MECHANISM_UNAVAILABLE):
        return Hint(
            "AUTH-DOCUMENTDB",
            LIKELY,
            f"this DocumentDB does not have {facts.mechanism} for this user: before 5.0.1 and "
            "8.0.1 it has only SCRAM-SHA-1 for passwords, and an IAM user logs in by MONGODB-AWS "
            "alone",
        )
    if code not in REFUSALS:
        return None
    return Hint(
        "AUTH-DOCUMENTDB",
        POSSIBLE,
        "a DocumentDB user has either a password (SCRAM) or MONGODB-AWS, never both, and is not an "
        "AWS account: it is the cluster's master user or one made by createUser",
    )


def _cosmos_vcore(code: Any) -> Hint | None:
    if code not in REFUSALS and code not in (BAD_VALUE, MECHANISM_UNAVAILABLE):
        return None
    return Hint(
        "AUTH-COSMOS",
        POSSIBLE,
        "Cosmos DB for MongoDB (vCore) knows the name and password of the cluster's administrator, "
        "by SCRAM-SHA-256 only: leave authMechanism out, or reset the password in the portal",
    )


def cosmos_hint(code: Any, credential: MongoCredential, host: str) -> Hint | None:
    """What Cosmos DB (RU) means by refusing a login, or a command because of one."""
    if code not in REFUSALS and code != UNAUTHORIZED:
        return None
    account = host.partition(".")[0]
    if account.lower() != (credential.username or "").lower():
        return Hint(
            "AUTH-COSMOS",
            LIKELY,
            f"Cosmos DB takes the account's name as user name, here {account!r}, not "
            f"{credential.shown_user!r}",
        )
    if credential.password is not None and not credential.password.endswith("=="):
        return Hint(
            "AUTH-COSMOS",
            LIKELY,
            "the password of Cosmos DB is one of the account's keys, which end with ==, and this "
            "one does not: it was cut, or == was lost (in a connection string write %3D%3D)",
        )
    return Hint(
        "AUTH-COSMOS",
        POSSIBLE,
        "the password of Cosmos DB is one of the account's keys: it may have been regenerated "
        "since (see Connection strings in the portal), or be a read-only one",
    )
