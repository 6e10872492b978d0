# Generators, driven without exceptions: include/mongokey/generators.h. No logic here.

cdef extern from "mongokey/generators.h":
    # What the generator `steps` yields next, or, with `ended[0]`, what it returns.
    object mk_next_step(object steps, object answer, int *ended)
