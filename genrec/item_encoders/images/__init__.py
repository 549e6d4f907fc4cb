"""Shared parts of image encoders: files, weights, the forward pass."""
