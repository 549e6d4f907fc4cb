"""Loggers: steps and epochs of a training -> files that other programs show."""
