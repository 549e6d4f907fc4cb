"""What image encoders share: files, weights, the forward pass."""
