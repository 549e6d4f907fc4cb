"""``python -m genrec.cli``: the command line when the ``genrec`` script is not on the path."""

from genrec.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
