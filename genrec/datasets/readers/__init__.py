"""File formats and tables of interactions and items, for every source."""
