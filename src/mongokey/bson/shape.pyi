# Nothing here is visible from Python: see _shape.pxd.
