"""The stages of an experiment, their cache and its keys, and the folders of finished runs."""
