"""A bare distinguished name in DER, read by way of `cryptography`, which reads whole certificates.

Knows the few bytes of DER that make a certificate request around a name. Must not know TLS.
"""

from __future__ import annotations

from cryptography import x509

# A P-256 public key (SubjectPublicKeyInfo) that stands for any: its point is the curve's generator.
_KEY = bytes.fromhex(
    "3059301306072a8648ce3d020106082a8648ce3d030107034200046b17d1f2e12c4247f8bce6e563a440f277037d81"
    "2deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
_ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")


def load_name(der: bytes) -> x509.Name | None:
    """The name, None for what is none."""
    information = _wrap(0x30, b"\x02\x01\x00" + der + _KEY + b"\xa0\x00")
    # The signature is not looked at.
    request = _wrap(
        0x30, information + _ALGORITHM + _wrap(0x03, b"\x00\x30\x06\x02\x01\x01\x02\x01\x01")
    )
    try:
        return x509.load_der_x509_csr(request).subject
    except Exception:
        # cryptography's exceptions for what is odd have no common class.
        return None


def _wrap(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 128:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


__all__ = ["load_name"]
