"""Decoding and training throughput of a recipe's model, compared with the machine's peak."""
