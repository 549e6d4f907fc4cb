"""Yardsticks: methods that every table shows beside a recipe's own."""
