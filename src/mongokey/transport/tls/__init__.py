"""TLS for streams: contexts from options, two engines, certificates, trust and revocation.

Must not know what the bytes mean. `ssl` and `cryptography` load with the first TLS connection.
"""
