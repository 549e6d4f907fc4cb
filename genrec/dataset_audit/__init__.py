"""Checks of a dataset for problems that invalidate results."""
