"""Prefix trees of semantic IDs, and the codes of items that are absent or new."""
