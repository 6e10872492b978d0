"""The rows about names, addresses, connections and deployments."""

from __future__ import annotations

from mongokey.diagnostics.entry import Entry, rows

_CERTAIN = "certain"
_LIKELY = "likely"

NETWORK: list[Entry] = [
    *rows(
        "docs/connection-strings.md#mongodbsrv",
        (
            "DNS-NXDOMAIN",
            "there is no such name: the cluster was deleted or renamed, the name is misspelt, or "
            "it is the name of one server",
            _CERTAIN,
            "NXDOMAIN for the SRV question, and who answered it",
            "correct the name; for one server use mongodb://",
        ),
        (
            "DNS-NO-SRV",
            "the name exists and has no SRV record",
            _CERTAIN,
            "an answer without records",
            "if it is the name of one server, use mongodb://",
        ),
        (
            "DNS-NO-SERVICE",
            "the SRV record says that the service is not offered (its target is '.')",
            _CERTAIN,
            "the record",
            "ask whoever keeps the DNS zone",
        ),
        (
            "DNS-TIMEOUT",
            "no name server answered in time; some routers, VPNs and hotspots drop SRV or TXT "
            "questions",
            _CERTAIN,
            "which name server was asked what, and which other question it answered meanwhile",
            "use another name server, or the long mongodb:// form",
        ),
        (
            "DNS-SERVFAIL",
            "the name server could not find out: the zone's own servers or its DNSSEC signatures "
            "are at fault",
            _CERTAIN,
            "SERVFAIL",
            "try again, use another name server, or the long mongodb:// form",
        ),
        (
            "DNS-REFUSED",
            "the name server does not answer this machine",
            _CERTAIN,
            "REFUSED",
            "use the right name server",
        ),
        (
            "DNS-MALFORMED",
            "what came is not a DNS message, over UDP nor over TCP",
            _CERTAIN,
            "both answers",
            "use another name server",
        ),
        (
            "DNS-UNREACHABLE",
            "the name server could not be reached",
            _CERTAIN,
            "the system's word for it",
            "check the network and the resolver's configuration",
        ),
        (
            "DNS-FAILED",
            "several name servers failed, each in its own way",
            _CERTAIN,
            "what each did",
            "use another name server, or the long mongodb:// form",
        ),
        (
            "DNS-NO-RESOLVER",
            "this machine has no name server configured (no /etc/resolv.conf, as in sandboxes)",
            _CERTAIN,
            "what is missing",
            "give the hosts with mongodb://, or name servers with srv_resolver",
        ),
        (
            "DNS-NAME",
            "the string's host cannot be asked for: a label is empty or too long",
            _CERTAIN,
            "the name",
            "correct it",
        ),
        (
            "DNS-ADDRESS",
            "mongodb+srv:// needs a name, and an IP address is given",
            _CERTAIN,
            "the address",
            "use mongodb://",
        ),
        (
            "DNS-TXT-SEVERAL",
            "the name has more than one TXT record",
            _CERTAIN,
            "how many",
            "leave one, with all options in it",
        ),
        (
            "DNS-TXT-TEXT",
            "the TXT record is not text",
            _CERTAIN,
            "the record's bytes are not UTF-8",
            "correct the record",
        ),
        (
            "DNS-TXT-OPTION",
            "the TXT record holds what it may not: only authSource, replicaSet and loadBalanced "
            "may come from DNS",
            _CERTAIN,
            "the record",
            "have the record corrected, and put other options into the string",
        ),
        (
            "SRV-HOST-FOREIGN",
            "an SRV record names a host outside of the domain of the name asked for: a VPN or "
            "captive portal rewrites DNS, or the zone is private",
            _CERTAIN,
            "both names",
            "leave the VPN; for a private zone name its hosts' domain by srvAllowedHostsSuffix",
        ),
        (
            "SRV-HOST-NAME",
            "the target of an SRV record is no host name",
            _CERTAIN,
            "the target",
            "ask whoever keeps the DNS zone",
        ),
        (
            "SRV-HOST-SUFFIX",
            "a host is not under srvAllowedHostsSuffix",
            _CERTAIN,
            "the host and the suffix",
            "correct the suffix, or the record",
        ),
        (
            "SRV-HOST-REFUSED",
            "srv_host_validator refused a host",
            _CERTAIN,
            "the host",
            "correct the validator, or the record",
        ),
        (
            "SRV-SUFFIX",
            "srvAllowedHostsSuffix would allow too much",
            _CERTAIN,
            "the suffix",
            "name a domain that is yours alone",
        ),
        (
            "SRV-SUFFIX-LIST",
            "the package with the Public Suffix List is not installed in this interpreter",
            _CERTAIN,
            "the interpreter",
            "pip install 'mongokey[srv]' for it",
        ),
    ),
    *rows(
        "",
        (
            "DNS-ADDRESS-ONLY",
            "a mongodb+srv:// name has an address and no SRV record: it is one server's",
            _CERTAIN,
            "the address, asked for after the SRV question had failed",
            "use mongodb:// with the port",
        ),
        (
            "DNS-SRV-ONLY",
            "a mongodb:// host has no address, but SRV records: it is a cluster's name",
            _CERTAIN,
            "the SRV records, asked for after the look-up had failed",
            "use mongodb+srv:// without a port",
        ),
        (
            "DNS-TCP-ONLY",
            "a name server answers over TCP what it does not answer, or answers wrongly, over UDP",
            _CERTAIN,
            "both answers",
            "use another name server; have UDP port 53 let through; or the long mongodb:// form",
        ),
        (
            "DNS-HOST-UNKNOWN",
            "a host has no address here: it is misspelt, or known only inside of a network",
            _CERTAIN,
            "the resolver's words",
            "correct the name, or make it known here (DNS, hosts file)",
        ),
        (
            "DNS-HOST-FAILED",
            "the resolver could not find out a host's address",
            _CERTAIN,
            "the resolver's words",
            "check the network and its name servers",
        ),
        (
            "DNS-HOST-TIMEOUT",
            "the resolver did not answer in time",
            _CERTAIN,
            "how long was waited",
            "check the network and its name servers",
        ),
        (
            "TCP-REFUSED",
            "nobody listens at that host and port",
            _CERTAIN,
            "each address was refused",
            "start the server, or correct host and port; a server that listens on its own "
            "127.0.0.1 only needs --bind_ip",
        ),
        (
            "TCP-CONTAINER-LOCALHOST",
            "localhost was asked for in a container, where it is the container itself",
            _LIKELY,
            "a refused loopback address, and the mark of a container",
            "name the server as containers reach it: its service, or host.docker.internal",
        ),
        (
            "TCP-TIMEOUT",
            "a host did not answer at all: a firewall or access list drops packets, or it is off "
            "(a paused cluster)",
            "likely; possible where less than a second was given",
            "no answer from any of its addresses within the time",
            "let the port through; see that the cluster runs",
        ),
        (
            "TCP-UNREACHABLE",
            "this machine's network has no way to the host",
            _CERTAIN,
            "the system's words",
            "check network, VPN and routes",
        ),
        (
            "TCP-FAILED",
            "a connection could not be made for a reason of the system's",
            "possible",
            "the system's words",
            "act on them",
        ),
        (
            "TCP-ONE-FAMILY",
            "a name has addresses of IPv4 and of IPv6, and only one of them is served: tools that "
            "try the other first are slow, or fail",
            _CERTAIN,
            "what became of each address",
            "name the address that is served, or have the server listen on both",
        ),
        (
            "TCP-LOST",
            "the connection was lost in the midst of the work",
            "possible",
            "the system's words",
            "try again; look for what closes connections on the way",
        ),
        (
            "TCP-IDLE-CUT",
            "something on the way (a firewall, NAT, or load balancer such as Azure's) forgot a "
            "connection that nobody used for a while",
            "likely after four minutes without use, else possible",
            "how long the connection had been idle; the pool found it open, and its use did not",
            "set maxIdleTimeMS=120000, or less than what cuts them allows",
        ),
        (
            "TCP-POOL-CLEARED",
            "all connections to a server were given up, as another operation or a check failed",
            _CERTAIN,
            "the error that the pool was cleared for, where that one has no cause of its own",
            "look at that error",
        ),
        (
            "TOPOLOGY-SET-NAME",
            "replicaSet names another set than the server's",
            _CERTAIN,
            "the setName of the server's hello",
            "write the name that the server said",
        ),
        (
            "TOPOLOGY-NOT-A-SET",
            "replicaSet is given, and the server is not in a set",
            _CERTAIN,
            "a hello without setName",
            "leave replicaSet out",
        ),
        (
            "TOPOLOGY-UNINITIATED",
            "the server was started as a member of a set that was never initiated",
            _CERTAIN,
            "isreplicaset in its hello",
            "run rs.initiate() there, once",
        ),
        (
            "TOPOLOGY-MEMBER-NAMES",
            "the set gives its members names that are not known here, such as those of containers "
            "or of a cloud's inside",
            _CERTAIN,
            "the names, which server gave them, and what became of the look-up",
            "make the names known here, have the set use others (rs.reconfig, horizons), or "
            "directConnection=true for one server alone",
        ),
        (
            "TOPOLOGY-MEMBERS-UNREACHABLE",
            "members of the set cannot be reached under the addresses it gives them",
            _CERTAIN,
            "the members and what became of each",
            "see that they run and can be reached from here; directConnection=true for one alone",
        ),
        (
            "TOPOLOGY-NO-PRIMARY",
            "the set has no primary that can be reached",
            _CERTAIN,
            "what each member says of the primary, and how many members are up",
            "start the missing members, or wait for the election; read with "
            "readPreference=secondaryPreferred",
        ),
        (
            "TOPOLOGY-NO-MATCH",
            "no member fits the read preference",
            _LIKELY,
            "each member's type and tags",
            "compare readPreference, readPreferenceTags and maxStalenessSeconds with them",
        ),
        (
            "TOPOLOGY-NO-SERVER",
            "no server of the deployment does for what is asked",
            "possible",
            "what each server is",
            "see what each says of itself",
        ),
        (
            "TOPOLOGY-MIXED",
            "the hosts that are given do not belong together, such as a standalone server among "
            "several",
            _CERTAIN,
            "the type of each",
            "name one server alone, or the members of one set",
        ),
        (
            "TOPOLOGY-NOT-BALANCED",
            "loadBalanced=true is given, and the server is no load balancer",
            _CERTAIN,
            "a hello without serviceId",
            "remove loadBalanced=true",
        ),
        (
            "TOPOLOGY-SERVER-OLD",
            "the server is too old for this driver, or a service's API level is",
            _CERTAIN,
            "its maxWireVersion",
            "upgrade the server; in Azure Cosmos DB the account's server version",
        ),
        (
            "TOPOLOGY-SERVER-NEW",
            "the server is too new for this driver",
            _CERTAIN,
            "its minWireVersion",
            "upgrade mongokey",
        ),
        (
            "TOPOLOGY-ATLAS-SQL",
            "the host is an endpoint of Atlas SQL or Data Federation, not a cluster",
            _LIKELY,
            "a host under query.mongodb.net that did not answer",
            "take the cluster's own string (Connect, Drivers)",
        ),
        (
            "TOPOLOGY-SILENT",
            "the port takes connections, and hello was not answered in time",
            _LIKELY,
            "a connection that was made, and no answer",
            "see that a MongoDB server is behind it: proxies and tunnels take connections too",
        ),
        (
            "TOPOLOGY-NO-ANSWER",
            "the port takes connections, and hello was not answered as MongoDB does",
            _LIKELY,
            "what came instead",
            "see that it is a MongoDB server's port",
        ),
    ),
]
