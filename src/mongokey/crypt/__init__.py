"""Client-side field level encryption: what libmongocrypt decides, and the I/O it asks for.

It knows `pymongocrypt`, the key vault as a collection that it is given, key management systems, and
mongocryptd as a process. It must not know faces: every call that may wait is yielded, as in
`_support.jobs`, and each face carries those steps out in its own way.
"""
