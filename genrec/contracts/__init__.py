"""What a result of a component has to satisfy: one implementation for runs and for ``genrec.testing.check``."""
