"""What every reader of files shares: text, JSON, keys, findings."""
