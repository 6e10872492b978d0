"""Reads the files that TLS options name, and says what is wrong with one that cannot be used.

Knows PEM and the formats taken for it, keys, and the dates of certificates. Must not know
connections or contexts. A password or a key is never part of a message.
"""

from __future__ import annotations

import datetime
import os
from contextlib import AbstractContextManager, nullcontext

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    pkcs12,
)

from mongokey._support.certificates import subject_name
from mongokey._support.reprs import with_safe_repr
from mongokey._support.secrets import Secret
from mongokey.diagnostics import CERTAIN, Diagnosis
from mongokey.errors import ConfigurationError
from mongokey.transport.tls.der import Malformed, revocation_list
from mongokey.transport.tls.directories import hashed_files
from mongokey.transport.tls.pem import CERTIFICATES, LISTS, Block, File, Pem, as_file, text_of

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from mongokey.client_options import TLSOptions

KEY_FILE = "tlsCertificateKeyFile"
PASSWORD = "tlsCertificateKeyFilePassword"  # noqa: S105  (an option's name)

_JKS = (b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce")
_LARGEST = 16 * 1024 * 1024
_MOST_BLOCKS = 10_000


@with_safe_repr
class _Content:
    """A file's bytes on their way, which may be a private key."""

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<{len(self.data)} bytes>"

    @property
    def binary(self) -> bool:
        """Whether it is a SEQUENCE of ASN.1 and not text."""
        return self.data.startswith(b"0") and b"-----BEGIN" not in self.data


class Identity:
    """The client's certificate, the chain behind it and its key, checked.

    `subject` is written as the server writes it (RFC 2253), the name of the MONGODB-X509 user.
    """

    __slots__ = ("_key", "certificate", "chain", "path", "subject")

    def __init__(self, path: str, chain: list[x509.Certificate], key: Any, subject: str) -> None:
        self.path = path
        self.chain = chain
        self.certificate = chain[0]
        self.subject = subject
        self._key: Any = key

    def key_der(self) -> bytearray:
        """The private key (PKCS#8), for who wipes it after use."""
        return bytearray(self._key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))

    def as_pem(self, password: bytes) -> bytes:
        """Certificate, chain and the key, encrypted with `password`, as one PEM file."""
        encryption = BestAvailableEncryption(password)
        key: bytes = self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        return b"".join([each.public_bytes(Encoding.PEM) for each in self.chain]) + key

    def forget_key(self) -> None:
        """Drop the key: whoever needed it has it."""
        self._key = None

    def date_problem(self) -> str | None:
        """Why the certificate's dates do not fit the clock, or None."""
        return _date_problem(self.certificate)


def read_identity(path: str, password: str | None) -> Identity:
    """Read a certificate, its chain and its private key from one file, PEM or PKCS#12.

    Raises `ConfigurationError` that names the file and what is wrong with it: missing, no PEM,
    no key, an encrypted key without or with a wrong password, a key of another certificate,
    the leaf not first, a certificate that is expired or not yet valid.
    """
    secret = Secret(password)
    password = None  # frames are shown with what their names stand for
    content = _read(path, KEY_FILE)
    if content.binary:
        return _read_store(path, content, secret)
    return _read_pem(path, File(content.data), content, secret)


def _read_pem(path: str, file: File, content: _Content, secret: Secret[str | None]) -> Identity:
    chain = file.of(CERTIFICATES)
    keys = [block for block in file.blocks if block.label.endswith("PRIVATE KEY")]
    if file.cut is not None:
        raise _unusable(KEY_FILE, path, _cut_short(file.cut))
    if not file.blocks:
        raise _unusable(
            KEY_FILE, path, _foreign_format(content.data, client=True), _code_of(content.data)
        )
    if not keys:
        code = "TLS-KEY-MISSING" if file.of(CERTIFICATES) else "TLS-FILE"
        raise _unusable(KEY_FILE, path, _no_key(file), code)
    if not chain:
        text = (
            "it has a private key but no certificate: put both into one file, as in "
            "`cat client.crt client.key > client.pem`"
        )
        raise _unusable(KEY_FILE, path, text)
    key = _load_key(path, keys[0], secret)
    return _identity(path, [_load_certificate(path, KEY_FILE, block) for block in chain], key)


def _read_store(path: str, content: _Content, secret: Secret[str | None]) -> Identity:
    """PKCS#12, which has no other reading; other binary files lack one half or the other."""
    if b"\x02\x01\x03" not in content.data[:8]:
        raise _unusable(
            KEY_FILE, path, _foreign_format(content.data, client=True), "TLS-KEY-FORMAT"
        )
    convert = "or convert it with `openssl pkcs12 -in … -out client.pem -nodes`"
    try:
        key, leaf, others = pkcs12.load_key_and_certificates(content.data, _encoded(secret))
    except Exception:
        why = f"{PASSWORD} is wrong" if secret.reveal() else f"give its password as {PASSWORD}"
        raise _unusable(
            KEY_FILE,
            path,
            f"it is PKCS#12 (.p12, .pfx) and cannot be opened: {why}, {convert}",
            "TLS-KEY-FORMAT",
        ) from None
    if key is None or leaf is None:
        half = "private key" if key is None else "certificate that belongs to its key"
        raise _unusable(KEY_FILE, path, f"it is PKCS#12 (.p12, .pfx) without a {half}")
    return _identity(path, [leaf, *others], key)


def _identity(path: str, chain: list[x509.Certificate], key: Any) -> Identity:
    try:
        wanted = _spki(key.public_key())
        owners = [n for n, each in enumerate(chain, 1) if _owns(each, wanted)]
        subject = subject_name(chain[0])
    except Exception as error:
        # cryptography's exceptions for what is odd have no common class.
        raise _unusable(
            KEY_FILE, path, f"its certificate or its key is of a kind that cannot be used ({error})"
        ) from None
    if not owners:
        raise _unusable(
            KEY_FILE,
            path,
            f"its private key does not belong to its certificate (subject {subject!r}), they are "
            "halves of two different pairs: put the key behind it that the certificate was "
            "requested with",
            "TLS-KEY-OTHER",
        )
    if owners[0] != 1:
        raise _unusable(
            KEY_FILE,
            path,
            f"the certificate that belongs to the private key is number {owners[0]} in the file: "
            "it must come first, the certificates of authorities after it",
            "TLS-KEY-ORDER",
        )
    problem = _date_problem(chain[0])
    if problem is not None:
        raise _unusable(KEY_FILE, path, problem, "TLS-KEY-DATES")
    return Identity(path, chain, key, subject)


class ClientFiles:
    """What the files of a client's options hold, each read once; None where there is none."""

    __slots__ = ("authorities", "identity", "lists")

    def __init__(self, options: TLSOptions) -> None:
        """Raises `ConfigurationError` for the first that cannot be used."""
        self.identity: Identity | None = None
        self.authorities: Trusted | None = None
        self.lists: Trusted | None = None
        if options.certificate_key_file:
            self.identity = read_identity(
                options.certificate_key_file, options.certificate_key_file_password
            )
        if options.ca_file:
            self.authorities = read_trusted(options.ca_file, "tlsCAFile")
        if options.crl_file:
            self.lists = read_trusted(options.crl_file, "tlsCRLFile")


class Trusted:
    """A file or directory of authorities or of revocation lists, read.

    `lists` has the issuers and ends of its revocation lists, as `trust` wants them; None where
    one of them cannot be read. `path` and `option` are for errors.
    """

    __slots__ = ("_as_it_is", "_blocks", "lists", "option", "path")

    def __init__(
        self,
        path: str,
        option: str,
        as_it_is: bool,
        blocks: list[Block],
        lists: list[tuple[bytes, int | None]] | None,
    ) -> None:
        self.path = path
        self.option = option
        self._as_it_is = as_it_is
        self._blocks = blocks
        self.lists = lists

    def opened(self) -> AbstractContextManager[str]:
        """The path of a file (or of the directory) that OpenSSL reads right."""
        if self._as_it_is:
            return nullcontext(self.path)
        return as_file(text_of(self._blocks))


def read_trusted(path: str, option: str) -> Trusted:
    """Read the file or directory that `option` (tlsCAFile, tlsCRLFile) names.

    PEM in any shape that can be read without doubt, or one certificate or list in DER. Raises
    `ConfigurationError` that says what is wrong with it.
    """
    lists_wanted = option == "tlsCRLFile"
    if os.path.isdir(path):
        return _read_directory(path, option, lists_wanted)
    content = _read(path, option)
    file = File(content.data)
    if content.binary:
        found = _block_of_der(content.data)
        blocks = [] if found is None else [found]
    else:
        blocks = file.of((*CERTIFICATES, *LISTS))
    if not any((block.label in LISTS) == lists_wanted for block in blocks):
        raise _nothing_trusted(path, option, file, content.data, lists_wanted)
    if file.cut is not None:
        raise _unusable(option, path, _cut_short(file.cut))
    if len(blocks) > _MOST_BLOCKS:
        raise _unusable(option, path, f"it has more than {_MOST_BLOCKS} certificates")
    for number, block in enumerate(blocks, 1):
        if block.der is None:
            raise _unusable(option, path, f"number {number} of its PEM blocks is damaged")
    plain = file.plain and bool(file.blocks) and os.path.isfile(path)
    return Trusted(path, option, plain, blocks, _lists_of(blocks))


def explain_trusted(trusted: Trusted) -> ConfigurationError:
    """The error for a file that could be read, and that OpenSSL does not take all the same."""
    what = "revocation list" if trusted.option == "tlsCRLFile" else "certificate"
    return _unusable(
        trusted.option, trusted.path, f"OpenSSL does not take a {what} in it: it is damaged"
    )


def read_authorities(path: str) -> list[x509.Certificate]:
    """The certificates in a file, or in a directory's hashed files, to be shown; what cannot be
    read is left out: `read_trusted` says why."""
    found = []
    for each in hashed_files(path) if os.path.isdir(path) else [path]:
        try:
            content = _read(each, "tlsCAFile")
            blocks = File(content.data).of(CERTIFICATES)
            if content.binary and (one := _block_of_der(content.data)):
                blocks = [one]
            found += [
                _load_certificate(each, "tlsCAFile", block)
                for block in blocks
                if block.label in CERTIFICATES
            ]
        except ConfigurationError:
            continue
    return found


def _read_directory(path: str, option: str, lists_wanted: bool) -> Trusted:
    files = hashed_files(path, lists_wanted)
    if not files:
        what = "revocation list" if lists_wanted else "certificate"
        raise _unusable(
            option,
            path,
            f"the directory has no {what} under the name that OpenSSL looks for: have "
            f"`openssl rehash` make these names",
        )
    lists: list[tuple[bytes, int | None]] | None = []
    for each in files if lists_wanted else []:
        more = read_trusted(each, option).lists
        lists = None if lists is None or more is None else lists + more
    return Trusted(path, option, True, [], lists)


def _lists_of(blocks: list[Block]) -> list[tuple[bytes, int | None]] | None:
    try:
        return [revocation_list(block.der or b"") for block in blocks if block.label in LISTS]
    except Malformed:
        return None


def _nothing_trusted(
    path: str, option: str, file: File, content: bytes, lists_wanted: bool
) -> ConfigurationError:
    if file.cut is not None:
        return _unusable(option, path, _cut_short(file.cut))
    if not file.blocks:
        return _unusable(option, path, _foreign_format(content, client=False))
    wanted = "revocation list (X509 CRL)" if lists_wanted else "certificate"
    found = ", ".join(sorted({block.label for block in file.blocks}))
    why = f"no {wanted} in it can be read; it has PEM blocks of the kind {found}"
    if "PKCS7" in found:
        why += ": write its certificates out with `openssl pkcs7 -print_certs -in … -out …`"
    return _unusable(option, path, why)


def _block_of_der(content: bytes) -> Block | None:
    """A file in DER that is one certificate or one revocation list, and nothing else."""
    for load, label in (
        (x509.load_der_x509_certificate, "CERTIFICATE"),
        (x509.load_der_x509_crl, "X509 CRL"),
    ):
        if _loads(load, content):
            return Block(label, content)
    return None


def _loads(load: Callable[[bytes], object], content: bytes) -> bool:
    """Whether a file is of the kind that `load` reads."""
    try:
        load(content)
    except Exception:
        # cryptography's exceptions for what is odd have no common class.
        return False
    return True


def _cut_short(label: str) -> str:
    return (
        f"its PEM text is cut short or damaged: a BEGIN line ({label}) has no END line of its kind"
    )


def _no_key(file: File) -> str:
    public = [block.label for block in file.blocks if block.label.endswith("PUBLIC KEY")]
    if public:
        return (
            f"it has a public key ({public[0]}) where the private key should be: append the "
            "private key, as in `cat client.crt client.key > client.pem`"
        )
    if not file.of(CERTIFICATES):
        kinds = ", ".join(sorted({block.label for block in file.blocks}))
        return f"it has neither certificate nor private key, but PEM blocks of the kind {kinds}"
    return "it has no private key: append it, as in `cat client.crt client.key > client.pem`"


def _unusable(option: str, path: str, why: str, code: str = "TLS-FILE") -> ConfigurationError:
    text = f"{option}={path!r} cannot be used: {why}"
    # What is to be done stands behind the colon.
    summary, _, fix = text.rpartition(": ") if ": " in why else (text, "", "")
    failed = ConfigurationError(f"{text} [{code}]")
    failed.diagnoses = (Diagnosis(code, CERTAIN, summary, [f"{option}={path!r}"], fix),)
    return failed


def _read(path: str, option: str) -> _Content:
    if isinstance(path, Pem):
        return _Content(path.content.reveal())
    try:
        with open(path, "rb") as file:
            content = _Content(file.read(_LARGEST + 1))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise _unusable(option, path, f"it cannot be read ({reason})") from error
    if len(content.data) > _LARGEST:
        raise _unusable(option, path, "it is larger than 16 MiB, which no PEM file is")
    return content


def _foreign_format(content: bytes, *, client: bool) -> str:
    """What a file without PEM blocks is, and how to convert it."""
    if not content.strip():
        return "it is empty"
    if content.startswith(_JKS):
        kind, line = (
            "a Java key store (JKS)",
            "keytool -importkeystore -deststoretype PKCS12 -srckeystore … -destkeystore store.p12",
        )
    elif content.startswith(b"0"):
        return _der_format(content, client=client)
    elif b"-----BEGIN" in content:
        return "its PEM text is cut short or damaged: a BEGIN line has no END line of its kind"
    elif content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "it is text in UTF-16 that is not PEM: no line of it says -----BEGIN …-----"
    else:
        return "it is not PEM: no line of it says -----BEGIN …-----"
    return f"it is {kind}, and PEM is needed: convert it with `{line}`"


def _code_of(content: bytes) -> str:
    """The code for a client's file without PEM blocks."""
    return "TLS-KEY-FORMAT" if content.startswith((b"0", *_JKS)) else "TLS-FILE"


def _der_format(content: bytes, *, client: bool) -> str:
    for load, kind, line in (
        (x509.load_der_x509_certificate, "certificate", "openssl x509 -inform DER -in … -out …"),
        (
            lambda data: load_der_private_key(data, None),
            "private key",
            "openssl pkey -inform DER -in … -out …",
        ),
        (x509.load_der_x509_crl, "revocation list", "openssl crl -inform DER -in … -out …"),
    ):
        if _loads(load, content):
            return f"it is a {kind} in DER, and PEM is needed: convert it with `{line}`"
    # PFX ::= SEQUENCE { version INTEGER 3, … } (RFC 7292)
    if b"\x02\x01\x03" in content[:8]:
        what = "-nodes" if client else "-cacerts -nokeys"
        return (
            "it is PKCS#12 (.p12, .pfx), and PEM is needed: convert it with "
            f"`openssl pkcs12 -in … -out client.pem {what}`"
        )
    return "it is binary (DER or PKCS#12), and PEM is needed"


def _load_key(path: str, block: Block, secret: Secret[str | None]) -> Any:
    encrypted = block.encryption is not None or block.label == "ENCRYPTED PRIVATE KEY"
    if block.label == "OPENSSH PRIVATE KEY":
        raise _unusable(
            KEY_FILE,
            path,
            "its private key is in the form of OpenSSH: convert it with "
            "`ssh-keygen -p -m PKCS8 -f …`",
        )
    if encrypted and not secret.reveal():
        raise _unusable(
            KEY_FILE,
            path,
            f"its private key is encrypted: give its password as {PASSWORD}",
            "TLS-KEY-ENCRYPTED",
        )
    try:
        return load_pem_private_key(block.text(), _encoded(secret) if encrypted else None)
    except UnsupportedAlgorithm as error:
        raise _unusable(
            KEY_FILE, path, f"its private key is of an unknown kind ({error})"
        ) from None
    except Exception:
        why = (
            f"its private key cannot be decrypted: {PASSWORD} is wrong, or the file is damaged"
            if encrypted
            else "its private key is damaged"
        )
        # From None: what cryptography says helps nobody, and may tell of the key.
        code = "TLS-KEY-ENCRYPTED" if encrypted else "TLS-FILE"
        raise _unusable(KEY_FILE, path, why, code) from None


def _encoded(secret: Secret[str | None]) -> bytes | None:
    # Half a surrogate pair is no text, and the error about it would hold the password.
    password = secret.reveal()
    return password.encode("utf-8", "surrogatepass") if password else None


def _load_certificate(path: str, option: str, block: Block) -> x509.Certificate:
    try:
        return x509.load_der_x509_certificate(block.certificate or b"")
    except Exception as error:
        raise _unusable(option, path, f"a certificate in it is damaged ({error})") from None


def _owns(certificate: x509.Certificate, wanted: bytes) -> bool:
    """Whether a certificate has this public key; one of an authority may be of an unknown kind."""
    try:
        return _spki(certificate.public_key()) == wanted
    except Exception:
        return False


def _spki(key: Any) -> bytes:
    der: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return der


def _date_problem(certificate: x509.Certificate) -> str | None:
    now = datetime.datetime.now(datetime.timezone.utc)
    if now > certificate.not_valid_after_utc:
        when = certificate.not_valid_after_utc
        return f"its certificate expired on {when:%Y-%m-%d %H:%M} UTC; have it renewed"
    if now < certificate.not_valid_before_utc:
        when = certificate.not_valid_before_utc
        return (
            f"its certificate is not valid before {when:%Y-%m-%d %H:%M} UTC; this machine's clock "
            f"says {now:%Y-%m-%d %H:%M}"
        )
    return None


__all__ = [
    "Identity",
    "Trusted",
    "explain_trusted",
    "read_authorities",
    "read_identity",
    "read_trusted",
]
