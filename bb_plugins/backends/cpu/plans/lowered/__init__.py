"""Which kernel does an op, and with which parameters; a module for each kind of ops."""
