"""Recommendations over HTTP: one process, several runs, requests computed in batches."""
