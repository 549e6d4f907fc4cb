"""What runs and comparisons report."""
