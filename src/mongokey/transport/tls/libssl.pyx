# cython: language_level=3, boundscheck=False, wraparound=False
"""OpenSSL's functions by address: those inside `cryptography`, taken from its bindings once.

It knows the bindings and the signature that each function must have, as they are not public. It
must not know what the functions are called for.
"""

from libc.stdint cimport uintptr_t

cdef bint _loaded = False
cdef object _lib = None
cdef object _ffi = None

# In the order of the struct: the signatures that its fields stand for.
_SIGNATURES = (
    ("SSL_new", "SSL *(*)(SSL_CTX *)"),
    ("SSL_free", "void(*)(SSL *)"),
    ("SSL_set_bio", "void(*)(SSL *, BIO *, BIO *)"),
    ("SSL_set_connect_state", "void(*)(SSL *)"),
    ("SSL_do_handshake", "int(*)(SSL *)"),
    ("SSL_read", "int(*)(SSL *, void *, int)"),
    ("SSL_write", "int(*)(SSL *, void *, int)"),
    ("SSL_pending", "int(*)(SSL *)"),
    ("SSL_shutdown", "int(*)(SSL *)"),
    ("SSL_set_shutdown", "void(*)(SSL *, int)"),
    ("SSL_get_error", "int(*)(SSL *, int)"),
    ("ERR_get_error", "unsigned long(*)()"),
    ("ERR_clear_error", "void(*)()"),
    ("SSL_get_session", "SSL_SESSION *(*)(SSL *)"),
    ("SSL_get1_session", "SSL_SESSION *(*)(SSL *)"),
    ("SSL_set_session", "int(*)(SSL *, SSL_SESSION *)"),
    ("SSL_session_reused", "int(*)(SSL *)"),
    ("SSL_SESSION_free", "void(*)(SSL_SESSION *)"),
    ("SSL_version", "int(*)(SSL *)"),
    ("SSL_set_tlsext_host_name", "void(*)(SSL *, char *)"),
    ("SSL_set_tlsext_status_type", "long(*)(SSL *, long)"),
    ("SSL_get_tlsext_status_ocsp_resp", "long(*)(SSL *, unsigned char * *)"),
    ("SSL_get0_param", "X509_VERIFY_PARAM *(*)(SSL *)"),
    ("SSL_get0_verified_chain", "Cryptography_STACK_OF_X509 *(*)(SSL *)"),
    ("SSL_get_peer_certificate", "X509 *(*)(SSL *)"),
    ("SSL_set1_curves_list", "long(*)(SSL *, char *)"),
    ("SSL_get0_group_name", "char *(*)(SSL *)"),
    ("X509_VERIFY_PARAM_set1_host", "int(*)(X509_VERIFY_PARAM *, char *, size_t)"),
    ("X509_VERIFY_PARAM_set1_ip", "int(*)(X509_VERIFY_PARAM *, unsigned char *, size_t)"),
    ("X509_VERIFY_PARAM_set_hostflags", "void(*)(X509_VERIFY_PARAM *, unsigned int)"),
    ("X509_free", "void(*)(X509 *)"),
    ("sk_X509_num", "int(*)(Cryptography_STACK_OF_X509 *)"),
    ("sk_X509_value", "X509 *(*)(Cryptography_STACK_OF_X509 *, int)"),
    ("i2d_X509_bio", "int(*)(BIO *, X509 *)"),
    ("BIO_new", "BIO *(*)(BIO_METHOD *)"),
    ("BIO_s_mem", "BIO_METHOD *(*)()"),
    ("BIO_free", "int(*)(BIO *)"),
    ("BIO_read", "int(*)(BIO *, void *, int)"),
    ("BIO_write", "int(*)(BIO *, void *, int)"),
    ("BIO_get_mem_data", "long(*)(BIO *, char * *)"),
    ("BIO_set_mem_eof_return", "long(*)(BIO *, int)"),
)
# What is called by way of the bindings, where the time does not matter.
_OTHERS = (
    "BIO_new_mem_buf",
    "ERR_GET_REASON",
    "ERR_peek_error",
    "ERR_reason_error_string",
    "EVP_PKEY_free",
    "SSL_CIPHER_get_name",
    "SSL_CTX_add_extra_chain_cert",
    "SSL_CTX_check_private_key",
    "SSL_CTX_clear_mode",
    "SSL_CTX_free",
    "SSL_CTX_get_cert_store",
    "SSL_CTX_load_verify_locations",
    "SSL_CTX_new",
    "SSL_CTX_set_min_proto_version",
    "SSL_CTX_set_mode",
    "SSL_CTX_set_options",
    "SSL_CTX_set_session_cache_mode",
    "SSL_CTX_set_tlsext_status_cb",
    "SSL_CTX_set_verify",
    "SSL_CTX_use_PrivateKey",
    "SSL_CTX_use_certificate",
    "SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER",
    "SSL_MODE_AUTO_RETRY",
    "SSL_OP_NO_COMPRESSION",
    "SSL_OP_NO_RENEGOTIATION",
    "SSL_get_current_cipher",
    "SSL_get_peer_cert_chain",
    "SSL_get_verify_result",
    "SSL_get_version",
    "TLS_method",
    "X509_STORE_add_cert",
    "X509_STORE_set_flags",
    "X509_verify_cert_error_string",
    "d2i_PrivateKey_bio",
    "d2i_X509_bio",
)


cdef bint loaded() noexcept:
    return _loaded


def load_functions(lib, ffi):
    """Take the functions' addresses; False if one of them is not what is expected here."""
    global _loaded, _lib, _ffi
    cdef void **slot = <void **>&fn
    cdef uintptr_t address
    if _loaded:
        return True
    if any(not hasattr(lib, name) for name in _OTHERS):
        return False
    addresses = []
    for name, signature in _SIGNATURES:
        function = getattr(lib, name, None)
        if function is None or str(ffi.typeof(function)) != f"<ctype '{signature}'>":
            return False
        addresses.append(int(ffi.cast("uintptr_t", ffi.addressof(lib, name))))
    if len(addresses) * sizeof(void *) != sizeof(openssl_functions):
        raise SystemError("the table of OpenSSL's functions and its struct differ in length")
    for address in addresses:
        slot[0] = <void *>address
        slot += 1
    _lib, _ffi = lib, ffi
    _loaded = True
    return True


def bindings():
    """The bindings that the functions are from: their `lib` and `ffi`."""
    return _lib, _ffi
