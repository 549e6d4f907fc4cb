"""Recommendations for many users: from a file or a dataset to a file, in bounded memory, on all cores."""
