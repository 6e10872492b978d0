"""The rows about users, passwords, mechanisms and rights."""

from __future__ import annotations

from mongokey.diagnostics.entry import Entry, rows

_CERTAIN = "certain"
_LIKELY = "likely"
_POSSIBLE = "possible"

LOGINS: list[Entry] = [
    *rows(
        "docs/errors.md#refused-logins",
        (
            "AUTH-USER-UNKNOWN",
            "there is most likely no such user in that database",
            "certain after UserNotFound; likely where hello named no mechanism for the user",
            "what hello said of the user's mechanisms, and the server's answer",
            "check the user name and authSource",
        ),
        (
            "AUTH-PASSWORD-WRONG",
            "the user exists, so the password is wrong",
            _LIKELY,
            "hello named mechanisms for the user, and the login was refused",
            "correct the password, or set it anew",
        ),
        (
            "AUTH-USER-OR-PASSWORD",
            "user or password is wrong; with a named mechanism the server does not say which",
            _POSSIBLE,
            "the server's answer",
            "leave authMechanism out, and the server tells what the user has",
        ),
        (
            "AUTH-SOURCE-FROM-PATH",
            "the database in the string's path was taken for the one that knows the user; users "
            "made by container images and by hand are mostly in admin",
            "likely where hello named no mechanism for the user there, else possible",
            "a path, no authSource, and the refusal",
            "add authSource=admin",
        ),
        (
            "AUTH-PASSWORD-EDGE",
            "the password begins or ends with white space, a line break, quotes or brackets",
            _LIKELY,
            "its first and last character",
            "make the secret with printf or echo -n, or strip it",
        ),
        (
            "AUTH-USER-EDGE",
            "the user name begins or ends with white space, a line break, quotes or brackets",
            _LIKELY,
            "its first and last character",
            "strip it",
        ),
        (
            "AUTH-MECHANISM-OTHER",
            "the user has another mechanism than the one named, as a user made before "
            "SCRAM-SHA-256 has SCRAM-SHA-1 only",
            _LIKELY,
            "the mechanisms that hello named for the user",
            "leave authMechanism out",
        ),
        (
            "AUTH-MECHANISM-OFF",
            "the server does not have the mechanism, or has it switched off; Kerberos and LDAP "
            "need MongoDB Enterprise or Atlas",
            "certain where the server is known to be Community and the mechanism needs Enterprise; "
            "else likely",
            "the server's answer; its modules, where it tells them",
            "use another mechanism, or authenticationMechanisms on the server",
        ),
        (
            "AUTH-PROVIDER-FAILED",
            "what is to give the secret (`credentials=`) raised an error, or gave nothing in time",
            _CERTAIN,
            "the provider's own error, which is the login error's `__cause__`",
            "call the provider by itself",
        ),
        (
            "AUTH-PROVIDER-REFUSED",
            "the secret was refused, and its provider (`credentials=`), asked again, gave the "
            "same, or another that was refused too",
            _CERTAIN,
            "whether the secret was changed",
            "correct the secret where the provider has it from, or the user on the server",
        ),
        (
            "AUTH-CHANGED",
            "the same credential logged in before in this process: user or password was changed "
            "on the server since",
            _LIKELY,
            "a login that succeeded earlier, and a refusal now",
            "give the new password to the process, or read it anew for each client",
        ),
        (
            "AUTH-EXTERNAL-USER",
            "the server needs a user in $external of the name it sees",
            _POSSIBLE,
            "the server's answer",
            "create the user in $external, unless roles come from groups",
        ),
        (
            "AUTH-CONTAINER-VOLUME",
            "the official container image makes its user only on an empty volume",
            _POSSIBLE,
            "a loopback or one-word host, authSource admin, and an unknown user",
            "create the user by hand, or make the volume anew (docker compose down -v deletes "
            "its data)",
        ),
        (
            "AUTH-ATLAS",
            "Atlas refuses: it must be a database user of the project, not the Atlas account",
            _LIKELY,
            "code 8000, or a host of Atlas's",
            "see Database Access, and set the password anew",
        ),
        (
            "AUTH-DOCUMENTDB",
            "Amazon DocumentDB has other mechanisms, or the user is of the other kind",
            "likely after a mechanism was refused, else possible",
            "a host of DocumentDB's, or its code",
            "SCRAM-SHA-1 before 5.0.1; a user has a password or MONGODB-AWS, never both",
        ),
        (
            "AUTH-COSMOS",
            "Azure Cosmos DB takes the account's name for user and one of its keys for password",
            "likely where one of them is of another form, else possible",
            "a host of Cosmos DB's, the user's name, the end of the password",
            "copy the connection string from the portal",
        ),
        (
            "X509-USER-NAME",
            "the user name given is not the certificate's subject",
            _CERTAIN,
            "both names",
            "leave the user name out",
        ),
        (
            "X509-USER-UNKNOWN",
            "the server has no user that is called exactly as the certificate's subject",
            _LIKELY,
            "the subject, in the server's order, and the refusal",
            "create it, with the command that is shown",
        ),
        (
            "AUTH-NO-CREDENTIAL",
            "nobody is logged in: no user is given",
            "certain once the server refused for it; possible from the string alone",
            "no credential, and code 13",
            "put user and password into the string, or give username= and password=",
        ),
        (
            "AUTH-NO-ROLE",
            "the user is logged in, and has no role that allows this on that database; often the "
            "database is test, as the string names none",
            _LIKELY,
            "code 13; the roles that connectionStatus tells",
            "name the database that is meant, or grant a role on this one",
        ),
    ),
    *rows(
        "",
        (
            "AUTH-FAILED",
            "the login failed for a reason that its error alone tells",
            "certain where the client itself says so, else possible",
            "the error",
            "act on it",
        ),
        (
            "AUTH-READ-FAILED",
            "the server did not let the database be read, for another reason than missing rights",
            _POSSIBLE,
            "the server's answer",
            "act on it",
        ),
        (
            "X509-AUTHORITY",
            "the client certificate is issued by an authority that is not among those the server "
            "accepts",
            _LIKELY,
            "the names in the server's request for a certificate, and the issuer of ours",
            "use a certificate of one of them, or have the server trust the other authority",
        ),
        (
            "X509-MEMBER",
            "the client certificate has the same O, OU and DC as the server's own, which makes it "
            "a cluster member's: no user can have such a name",
            "likely where both subjects agree in them and the login was refused",
            "the two subjects, seen in the handshake",
            "give clients certificates with another O or OU",
        ),
    ),
]
