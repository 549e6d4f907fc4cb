"""Sources of data: each file registers one way to get a :class:`genrec.types.Dataset`."""
