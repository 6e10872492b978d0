"""Which servers there are, and which of them an operation goes to."""
