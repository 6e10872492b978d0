"""What each command's bytes are, and what its reply means.

Operations of the crud, find/getMore/killCursors, index and bulk specifications, and the checks of
their arguments. Must not know connections' lives, retries or servers.
"""
