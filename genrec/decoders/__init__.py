"""Modules that write one stream's codes."""
