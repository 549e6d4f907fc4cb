"""Metrics, confidence intervals, significance tests, and the quality of codes."""
