"""Which hosted service a host belongs to, by the end of its name.

Knows the domains of Atlas, Amazon DocumentDB and Azure Cosmos DB. Must not know how any of them
behaves, except whether it lists the addresses that may connect.
"""

from __future__ import annotations

_ATLAS = (".mongodb.net", ".mongodbgov.net")
_DOCUMENTDB = (".docdb.amazonaws.com", ".docdb.amazonaws.com.cn", ".docdb-elastic.amazonaws.com")
_COSMOS_VCORE = (".mongocluster.cosmos.azure.com",)
_COSMOS = (".documents.azure.com", ".mongo.cosmos.azure.com")
_IMITATIONS = (*_DOCUMENTDB, *_COSMOS, *_COSMOS_VCORE)
_ALL = (*_ATLAS, *_DOCUMENTDB, *_COSMOS, *_COSMOS_VCORE)


def is_hosted(host: str) -> bool:
    """Whether a service has this host that may do otherwise than MongoDB's own server."""
    return host.lower().endswith(_ALL)


def is_atlas(host: str) -> bool:
    """Whether it is Atlas's."""
    return host.lower().endswith(_ATLAS)


def is_documentdb(host: str) -> bool:
    """Whether it is Amazon DocumentDB's."""
    return host.lower().endswith(_DOCUMENTDB)


def is_cosmos_vcore(host: str) -> bool:
    """Whether it is a cluster of Cosmos DB for MongoDB (vCore)."""
    return host.lower().endswith(_COSMOS_VCORE)


def is_cosmos(host: str) -> bool:
    """Whether it is a Cosmos DB account that counts request units, not a vCore cluster."""
    return host.lower().endswith(_COSMOS)


def imitation_of(host: str) -> str | None:
    """The name of the service at `host`, if that is no MongoDB but only speaks like one."""
    if not host.lower().endswith(_IMITATIONS):
        return None
    return "Amazon DocumentDB" if is_documentdb(host) else "Azure Cosmos DB"


def access_list_of(host: str) -> str | None:
    """Where the service at `host` lists the addresses that may connect, for people; None where no
    such service is known. Who is not listed is cut off without a word."""
    if is_atlas(host):
        return "the project's IP access list (Network Access in Atlas)"
    return None
