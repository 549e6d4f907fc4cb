"""The machine: where a run computes, where it finds its files, how it reports progress."""
