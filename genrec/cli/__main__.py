"""``python -m genrec.cli``: the command line where the ``genrec`` script is not on the path."""

from genrec.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
