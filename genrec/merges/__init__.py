"""Merges: the candidates of all streams -> one ranking."""
