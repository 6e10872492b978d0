"""Makes the `ssl.SSLContext` of a client from its TLS options.

Knows files and verification; must not know connections. One context serves all connections of a
client. Diagnosis of bad files is to come with the TLS issue; errors name the file already.
"""

from __future__ import annotations

import ssl

from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.client_options import TLSOptions


def make_context(options: TLSOptions) -> ssl.SSLContext:
    """A client context for `options`: TLS 1.2 or newer, chain and host name checked unless the
    options turn that off. Raises `ConfigurationError` naming the file that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    # Order matters: a context that does not check certificates may not check host names.
    if options.allow_invalid_hostnames or options.allow_invalid_certificates:
        context.check_hostname = False
    if options.allow_invalid_certificates:
        context.verify_mode = ssl.CERT_NONE
    if options.certificate_key_file:
        password = options.certificate_key_file_password
        try:
            # Without a password an encrypted key would make OpenSSL ask at the terminal.
            context.load_cert_chain(options.certificate_key_file, password=password or (lambda: ""))
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"tlsCertificateKeyFile={options.certificate_key_file!r} cannot be used ({error}): "
                f"it must be a PEM file with the certificate and its private key"
            ) from error
    if options.ca_file:
        _load_authorities(context, options.ca_file, "tlsCAFile")
    elif not options.allow_invalid_certificates:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if options.crl_file:
        _load_authorities(context, options.crl_file, "tlsCRLFile")
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _load_authorities(context: ssl.SSLContext, path: str, option: str) -> None:
    from os.path import isdir

    try:
        if isdir(path):
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{option}={path!r} cannot be used ({error}): it must be a PEM file, or a directory of "
            f"hashed PEM files"
        ) from error
