"""How good a ranking is, how sure we are of it, and what is written down."""
