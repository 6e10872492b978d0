# Nothing here is visible from Python: see _encode.pxd.
