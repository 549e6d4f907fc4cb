"""Limits of requests, and the settings of a service."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from genrec.errors import GenrecError

MAX_BODY_BYTES = 2**20
"""Size of the body of a request."""
MAX_HISTORY = 1000
"""Items of a history."""
MAX_HISTORIES = 64
"""Histories of a request."""
MAX_K = 200
"""Items of a list."""
MAX_EXCLUDE = 1000
"""Items that a request excludes."""
MAX_NAME = 1000
"""Characters of a key or title."""
MAX_QUERY = 200
"""Characters of a title search."""
MAX_REQUESTS = 512
"""Requests in progress, of any kind."""
BODY_SECONDS = 10.0
"""Time in which the body of a request must arrive."""
SHUTDOWN_SECONDS = 30.0
"""Time in which accepted requests must be finished after SIGTERM."""


@dataclass(frozen=True)
class ServiceSettings:
    """How a service computes and whom it answers.

    Raises:
        GenrecError: a value is out of range.
    """

    max_batch: int = 64
    """Most histories that are computed together; 1 turns batching off."""
    max_wait_ms: float = 10.0
    """Longest pause between requests for which a batch waits, in milliseconds; an idle service does not wait."""
    queue_size: int = 1024
    """Histories that may wait; requests beyond it are refused with status 429."""
    deadline_s: float = 10.0
    """Seconds after which a request is answered with status 503; its work is not begun after that."""
    workers: int = 1
    """Threads that compute batches."""
    api_key: str | None = None
    """The key that requests must have; None: no key."""
    hosts: tuple[str, ...] = ()
    """Names in the header Host that are accepted besides localhost and IP addresses."""
    origins: tuple[str, ...] = ()
    """Origins of web pages of other hosts that may use the service (CORS)."""

    def __post_init__(self) -> None:
        for option, value, low in (
            ("--max-batch", self.max_batch, 1),
            ("--queue", self.queue_size, MAX_HISTORIES),
            ("--workers", self.workers, 1),
        ):
            if value < low:
                raise GenrecError(f"{option}: found {value}, expected at least {low}")
        if not 0 <= self.max_wait_ms <= 1000:
            raise GenrecError(f"--max-wait: found {self.max_wait_ms:g}, expected 0 to 1000 milliseconds")
        if not 0 < self.deadline_s <= 3600:
            raise GenrecError(f"--deadline: found {self.deadline_s:g}, expected more than 0 and at most 3600 seconds")
        if self.api_key is not None and not (len(self.api_key) >= 8 and self.api_key.isascii()):
            raise GenrecError("API key: found another text, expected at least 8 ASCII characters")

    def allows_host(self, header: str) -> bool:
        """Whether a header Host names this service.

        Web pages of other hosts can resolve their own name to a local address and would then read the answers; they
        cannot choose an IP address or localhost as their name.
        """
        name = header.rpartition(":")[0] if header.rpartition(":")[2].isdigit() and not header.endswith("]") else header
        name = name.strip("[]").lower()
        return name == "localhost" or name in self.hosts or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
