"""One random generator for each (seed, purpose), so that adding a part never changes the numbers of another."""

import hashlib


def derive(seed: int, *purpose: object) -> int:
    """A seed of 63 bits for one purpose, e.g. ``derive(seed, "stream", name, "tokenizer")``."""
    text = "/".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1
