"""A small Concrete of each Role, with its benchmark and a test of its own: where an author starts from."""
