"""The tables and figures of the EAGER paper as studies: rows to run, the paper's numbers, and its orderings."""
