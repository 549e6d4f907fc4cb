"""The Python API: the functions that ``import genrec`` offers and that the command line calls."""
