"""Auxiliary losses."""
