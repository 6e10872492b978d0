# Everything in this module is C-level; see _message.pxd. Python callers use mongokey.wire.
