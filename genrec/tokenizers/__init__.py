"""Tokenizers: item vectors -> semantic IDs."""
