"""Baselines: methods that every table shows besides the recipe's own."""
