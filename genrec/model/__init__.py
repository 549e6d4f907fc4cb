"""The model: layers, vocabularies, the contracts of its modules, and the retriever that joins them."""
