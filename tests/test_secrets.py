"""No tracked file contains a private key or an access token.

The patterns are those of detect-secrets for tokens with a recognizable form. detect-secrets itself takes half a minute
for these files, and its entropy checks report every checksum.
"""

from __future__ import annotations

import re

import pytest
from test_house import tracked_lines

SECRETS = {
    "private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "AWS": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "Azure storage": r"AccountKey=[A-Za-z0-9+/=]{88}",
    "GitHub": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,})",
    "GitLab": r"\bgl(?:pat|dt|rt|ptt)-[\w-]{20,}",
    "Google": r"\bAIza[\w-]{35}\b",
    "Hugging Face": r"\bhf_[A-Za-z0-9]{34,}\b",
    "OpenAI or Anthropic": r"\bsk-(?:[A-Za-z]+-)*[A-Za-z0-9_-]{32,}",
    "PyPI": r"\bpypi-AgE[\w-]{50,}",
    "npm": r"\bnpm_[A-Za-z0-9]{36}\b|_authToken=\S{20,}",
    "Slack": r"\bxox[abprs]-[\w-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w+",
    "JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+",
    "password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s:/@'\"{}<>]+:[^\s:/@'\"{}<>]{3,}@[\w.-]+",
}
"""Regular expressions of what gives access to something."""

ANY = re.compile("|".join(f"(?:{pattern})" for pattern in SECRETS.values()))


def test_no_secret_is_tracked() -> None:
    assert [place for place, line in tracked_lines() if ANY.search(line)] == []


@pytest.mark.parametrize(
    ("what", "start", "end"),
    [
        ("private key", "-----BEGIN RSA", " PRIVATE KEY-----"),
        ("private key", "-----BEGIN", " PRIVATE KEY-----"),
        ("AWS", "id = AK", "IA" + "Q3" * 8),
        ("Azure storage", "AccountKey", "=" + "ab" * 43 + "=="),
        ("GitHub", "token: gh", "p_" + "aB1" * 12),
        ("GitLab", "gl", "pat-" + "aB1-" * 5),
        ("Google", "AI", "za" + "aB1_c" * 7),
        ("Hugging Face", "h", "f_" + "aB" * 17),
        ("OpenAI or Anthropic", "s", "k-proj-" + "aB1_" * 10),
        ("PyPI", "pypi", "-AgE" + "aB" * 30),
        ("npm", "np", "m_" + "aB1" * 12),
        ("Slack", "xo", "xb-" + "12345-abcde"),
        ("JSON web token", "ey", "Jhbgciabcde.eyJzdWIiabcde.x-y"),
        ("password in an address", "https://ann:", "s3cret@example.org/x"),
    ],
)
def test_secrets_are_recognized(what: str, start: str, end: str) -> None:
    assert re.search(SECRETS[what], start + end)


@pytest.mark.parametrize(
    "text",
    ["https://example.org:8080/a@b", "sk-learn-compatible", "hf_hub_download", "BEGIN PUBLIC KEY", "git@example.org:x"],
)
def test_other_texts_are_no_secrets(text: str) -> None:
    assert not ANY.search(text)
