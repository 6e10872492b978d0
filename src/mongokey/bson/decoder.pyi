# Nothing here is visible from Python: see _decode.pxd.
