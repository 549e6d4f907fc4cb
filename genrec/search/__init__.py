"""Machines that find what each stream would write: the trie, beam search, exact search, their candidates."""
