"""New items for a trained model: their vectors, codes and weights, without training."""
