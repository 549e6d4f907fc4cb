"""Splits: one file per rule."""
