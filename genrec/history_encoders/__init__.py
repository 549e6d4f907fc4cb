"""Modules that read a user's history."""
