"""How fast a recipe's model decodes and trains on this machine, beside the machine's own limit."""
