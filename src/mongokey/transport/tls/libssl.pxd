# OpenSSL's functions that a connection needs, by their addresses.


cdef struct openssl_functions:
    void *(*SSL_new)(void *) noexcept nogil
    void (*SSL_free)(void *) noexcept nogil
    void (*SSL_set_bio)(void *, void *, void *) noexcept nogil
    void (*SSL_set_connect_state)(void *) noexcept nogil
    int (*SSL_do_handshake)(void *) noexcept nogil
    int (*SSL_read)(void *, void *, int) noexcept nogil
    int (*SSL_write)(void *, void *, int) noexcept nogil
    int (*SSL_pending)(void *) noexcept nogil
    int (*SSL_shutdown)(void *) noexcept nogil
    void (*SSL_set_shutdown)(void *, int) noexcept nogil
    int (*SSL_get_error)(void *, int) noexcept nogil
    unsigned long (*ERR_get_error)() noexcept nogil
    void (*ERR_clear_error)() noexcept nogil
    void *(*SSL_get_session)(void *) noexcept nogil
    void *(*SSL_get1_session)(void *) noexcept nogil
    int (*SSL_set_session)(void *, void *) noexcept nogil
    int (*SSL_session_reused)(void *) noexcept nogil
    void (*SSL_SESSION_free)(void *) noexcept nogil
    int (*SSL_version)(void *) noexcept nogil
    void (*SSL_set_tlsext_host_name)(void *, char *) noexcept nogil
    long (*SSL_set_tlsext_status_type)(void *, long) noexcept nogil
    long (*SSL_get_tlsext_status_ocsp_resp)(void *, unsigned char **) noexcept nogil
    void *(*SSL_get0_param)(void *) noexcept nogil
    void *(*SSL_get0_verified_chain)(void *) noexcept nogil
    void *(*SSL_get_peer_certificate)(void *) noexcept nogil
    long (*SSL_set1_curves_list)(void *, char *) noexcept nogil
    char *(*SSL_get0_group_name)(void *) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_host)(void *, char *, size_t) noexcept nogil
    int (*X509_VERIFY_PARAM_set1_ip)(void *, unsigned char *, size_t) noexcept nogil
    void (*X509_VERIFY_PARAM_set_hostflags)(void *, unsigned int) noexcept nogil
    void (*X509_free)(void *) noexcept nogil
    int (*sk_X509_num)(void *) noexcept nogil
    void *(*sk_X509_value)(void *, int) noexcept nogil
    int (*i2d_X509_bio)(void *, void *) noexcept nogil
    void *(*BIO_new)(void *) noexcept nogil
    void *(*BIO_s_mem)() noexcept nogil
    int (*BIO_free)(void *) noexcept nogil
    int (*BIO_read)(void *, void *, int) noexcept nogil
    int (*BIO_write)(void *, void *, int) noexcept nogil
    long (*BIO_get_mem_data)(void *, char **) noexcept nogil
    long (*BIO_set_mem_eof_return)(void *, int) noexcept nogil


cdef openssl_functions fn
cdef bint loaded() noexcept
