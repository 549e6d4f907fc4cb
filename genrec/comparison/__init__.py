"""Comparisons: recipes and axes -> one table with its uncertainty, and a page."""
