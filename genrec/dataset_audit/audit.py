"""Checks of a dataset before any training: its figures, and problems that invalidate results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from genrec.dataset_audit.catalog_texts import leak_findings, twin_findings
from genrec.dataset_audit.dates import date_text, dates_finding, first_and_last
from genrec.dataset_audit.finding import Finding, Severity, percent, share
from genrec.dataset_audit.history_order import future_finding, order_finding, tie_finding
from genrec.dataset_audit.protocols import protocol_findings
from genrec.reporting.tables import Table
from genrec.types import Dataset

__all__ = ["Audit", "Figures", "Finding", "Severity", "audit"]

COLD = 0.01
"""Share of targets without training interactions from which the audit warns."""
REPEATED = 0.01
"""Share of test targets in their own history from which the audit warns."""
SHORT = 0.05
"""Share of users who are never evaluated from which the audit warns."""
_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "ok")


@dataclass(frozen=True)
class Figures:
    """Sizes of a dataset. Shares are of all items, targets or interactions, from 0 to 1."""

    users: int
    evaluation_users: int
    """Test users; under leave-one-out those with three items or more."""
    items: int
    interactions: int
    density: float
    """Interactions by users times items."""
    shortest: int
    """Number of items of a history; also below."""
    median: float
    mean: float
    longest: int
    titled: float
    """Share of items with a title."""
    described: float
    """Share of items with a text."""
    with_image: float
    """Share of items with an image."""
    images: int
    untrained_items: int
    """Items in no training history."""
    untrained_valid: float
    """Share of validation targets in no training history."""
    untrained_test: float
    """Share of test targets in no training history."""
    repeats: int
    """Interactions with an item that the user already had."""
    repeated_test: float
    """Share of test targets that are in their own history."""
    top_percent: float
    """Share of interactions with the most popular 1 % of items."""
    first: str | None
    """Date of the first interaction, such as ``2014-07-23``, UTC; None without dates."""
    last: str | None
    """Date of the last interaction."""


@dataclass(frozen=True, repr=False)
class Audit:
    """Result of an audit; errors first."""

    dataset: str
    fingerprint: str
    order: str
    figures: Figures
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    """Notes of the dataset's reader."""

    def of(self, severity: Severity) -> tuple[Finding, ...]:
        """The findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def lines(self) -> list[str]:
        """Lines for a report: the size, the number of findings by severity, and each error."""
        figures = self.figures
        density = 100 * figures.density
        rounded = f"{density:.2g}" if density < 10 else f"{density:.0f}"
        size = (
            f"{figures.users:,} users, {figures.items:,} items, {figures.interactions:,} interactions (density "
            f"{rounded} %), histories of {figures.shortest:,} to {figures.longest:,} "
            f"items, median {figures.median:g}"
        )
        if figures.first is not None:
            size += f", dates {figures.first} to {figures.last}"
        counts = ", ".join(map(self._count, ("error", "warning")))
        errors = (f"error: {finding.text}" for finding in self.of("error"))
        return [size, f"{len(self.findings)} checks: {counts}", *errors]

    def _count(self, severity: Severity) -> str:
        """For example ``2 warnings (cold items, ties)``."""
        checks = [finding.check for finding in self.of(severity)]
        count = f"{len(checks)} {severity}{'s' * (len(checks) != 1)}"
        return f"{count} ({', '.join(checks)})" if checks else count

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return asdict(self)

    def table(self) -> Table:
        """A row for each finding: severity, check, what was found and what to do."""
        return Table(
            {
                "severity": [finding.severity for finding in self.findings],
                "check": [finding.check for finding in self.findings],
                "found": [finding.text for finding in self.findings],
                "what to do": [finding.advice for finding in self.findings],
            }
        )

    def __repr__(self) -> str:
        return f"Audit({self.dataset}: {'; '.join(self.lines())})"

    def _repr_html_(self) -> str:
        lines = "<br>".join(escape(line) for line in (self.dataset, *self.lines()))
        return f"<p>{lines}</p>{self.table()._repr_html_()}"


def audit(dataset: Dataset) -> Audit:
    """Check a dataset; takes seconds and changes nothing.

    Args:
        dataset: as loaded by its source.
    """
    figures = _figures(dataset)
    optional = [dates_finding(dataset), tie_finding(dataset), future_finding(dataset)]
    findings = [
        *dataset.findings,
        order_finding(dataset),
        *(finding for finding in optional if finding is not None),
        _repeats(figures),
        _untrained(figures),
        _short_users(figures, dataset),
        _modalities(figures),
        *leak_findings(dataset.catalog, dataset.test),
        *twin_findings(dataset.catalog, dataset.test),
        *protocol_findings(dataset),
    ]
    findings.sort(key=lambda finding: _SEVERITIES.index(finding.severity))
    return Audit(dataset.name, dataset.fingerprint, dataset.order, figures, tuple(findings), dataset.notes)


def _figures(dataset: Dataset) -> Figures:
    histories, catalog, test = dataset.histories, dataset.catalog, dataset.test
    lengths = histories.lengths
    total = len(histories.items)
    popularity_I = np.bincount(histories.items, minlength=len(catalog))
    top = np.sort(popularity_I)[::-1][: -(-len(catalog) // 100)]
    is_trained_I = np.bincount(dataset.train.items, minlength=len(catalog)) > 0
    # Sorted rather than np.unique, which hashes and takes a minute for 25 million.
    pairs = np.sort(np.repeat(np.arange(len(histories)), lengths) * max(len(catalog), 1) + histories.items)
    counts_I = np.zeros(0, dtype=np.int32) if catalog.images is None else catalog.images.counts_I
    user = np.repeat(np.arange(len(test)), test.histories.lengths)
    dates = first_and_last(dataset)
    again = np.bincount(user[test.histories.items == test.targets[user]], minlength=len(test)) > 0
    return Figures(
        users=len(histories),
        evaluation_users=len(test),
        items=len(catalog),
        interactions=total,
        density=share(total, len(histories) * len(catalog)),
        shortest=int(lengths.min(initial=total)),
        median=float(np.median(lengths)) if len(lengths) else 0.0,
        mean=share(total, len(histories)),
        longest=int(lengths.max(initial=0)),
        titled=_share_of_texts(catalog.titles),
        described=_share_of_texts(catalog.texts),
        with_image=share(int((counts_I > 0).sum()), len(catalog)),
        images=int(counts_I.sum()),
        untrained_items=int((~is_trained_I).sum()),
        untrained_valid=share(int((~is_trained_I[dataset.valid.targets]).sum()), len(dataset.valid)),
        untrained_test=share(int((~is_trained_I[test.targets]).sum()), len(test)),
        repeats=int((np.diff(pairs) == 0).sum()),
        repeated_test=share(int(again.sum()), len(test)),
        top_percent=share(int(top.sum()), total),
        first=None if dates is None else date_text(dates[0]),
        last=None if dates is None else date_text(dates[1]),
    )


def _share_of_texts(texts: Sequence[str]) -> float:
    return share(sum(bool(text) for text in texts), len(texts))


def _repeats(figures: Figures) -> Finding:
    text = (
        f"{figures.repeats:,} interactions ({percent(share(figures.repeats, figures.interactions))}) repeat an item "
        f"that the user already had, and {percent(figures.repeated_test)} of test targets are in their own history"
    )
    if figures.repeated_test < REPEATED:
        return Finding("repeats", "ok", text)
    advice = (
        "seen_items: filter makes these targets impossible to find, keep lets a method repeat the history: report which"
    )
    return Finding("repeats", "warning", text, advice)


def _untrained(figures: Figures) -> Finding:
    items = percent(share(figures.untrained_items, figures.items))
    text = (
        f"{figures.untrained_items:,} items ({items}) are in no training history, and so are "
        f"{percent(figures.untrained_valid)} of validation and {percent(figures.untrained_test)} of test targets"
    )
    if max(figures.untrained_valid, figures.untrained_test) < COLD:
        return Finding("cold items", "ok", text)
    return Finding("cold items", "warning", text, "only streams that encode texts or images can find these targets")


def _short_users(figures: Figures, dataset: Dataset) -> Finding:
    short = figures.users - figures.evaluation_users
    if dataset.splits is not None:
        text = f"{figures.evaluation_users:,} of {figures.users:,} users are test users ({dataset.splits.text})"
        return Finding("test users", "ok", text)
    text = f"{short:,} of {figures.users:,} users have fewer than three items: they are trained on, not evaluated"
    if not figures.evaluation_users:
        return Finding("short histories", "error", text, "no user can be evaluated: use a larger dataset")
    if share(short, figures.users) < SHORT:
        return Finding("short histories", "ok", text)
    return Finding("short histories", "warning", text, "results hold for the other users; most papers use core: 5")


def _modalities(figures: Figures) -> Finding:
    shares = {"title": figures.titled, "text": figures.described, "image": figures.with_image}
    text = f"items with a title {percent(figures.titled)}, a text {percent(figures.described)}, an image "
    text += percent(figures.with_image)
    partly = [name for name, value in shares.items() if 0 < value < 1]
    if not partly:
        return Finding("text and images", "ok", text)
    advice = f"absent_items of a stream decides how items without {' or '.join(partly)} get their codes"
    return Finding("text and images", "warning", text, advice)
