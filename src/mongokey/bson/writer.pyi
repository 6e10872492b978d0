# Nothing here is visible from Python: see _writer.pxd.
