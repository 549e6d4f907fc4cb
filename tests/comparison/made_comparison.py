"""A comparison as ``genrec compare`` finds them, of drawn ranks: all combinations of some axes, baselines, oracles.

Intervals and p-values are normal approximations, which are fast and realistic enough for rendering.
"""

from itertools import combinations, product

import numpy as np
from scipy import stats

from genrec.comparison.results import Cell, Comparison, ComparisonRow, Pair, Slice, Trained
from genrec.evaluation.metrics import DEFAULT_METRICS, METRICS
from genrec.evaluation.significance import holm
from genrec.reporting.report import Protocol
from genrec.training.log import EpochRecord
from genrec.types import ABSENT

CUTOFFS = (5, 10, 20)
TOKENIZERS = ("kmeans_tree", "residual_kmeans", "rqvae", "product_quantizer", "random_codes")
MERGES = ("confidence", "log_prob_sum", "entropy_weighted", "reciprocal_rank", "learned")
STREAMS = ("behavior", "text")
TWO_AXES = {"streams.*.tokenizer": TOKENIZERS, "merge": MERGES}


def made_comparison(
    axes=TWO_AXES,
    *,
    seeds=(1, 2, 3),
    users=600,
    split="validation",
    title="Five tokenizers and five merges on the made-up shop",
    baselines=("popularity", "transition"),
    curves=True,
    codes=True,
    tested=True,
    failed=(),
    notes=("data: 3.1 % of the users have their target in the history",),
    metrics=DEFAULT_METRICS,
):
    """One variant for each combination of the axes' values; those named in ``failed`` have no result."""
    world = _World(users, seeds, curves, codes)
    rows, streams = [], []
    model_axes = [axis for axis in axes if axis != "merge"]
    for values in product(*(axes[axis] for axis in model_axes)):
        setting = dict(zip(model_axes, values, strict=True))
        model = world.model(values)
        for merge in axes.get("merge", ("",)):
            own = {axis: merge if axis == "merge" else setting[axis] for axis in axes}
            varied = [axis for axis in axes if len(axes[axis]) > 1] or list(axes)
            name = ", ".join(own[axis] for axis in varied)
            rows.append(world.variant(name, own, model, merge, name in failed))
        name = ", ".join(values) or "model"
        streams += [
            world.stream(f"{name}: {stream} alone", setting, model, place) for place, stream in enumerate(STREAMS)
        ]
        streams.append(world.oracle(f"{name}: oracle", setting, model))
    rows += streams + [world.baseline(name) for name in baselines]
    finished = [row for row in rows if row.seeds]
    cells = {row.name: _cells(row, slice(None), metrics) for row in finished}
    methods = [row for row in finished if row.kind in ("variant", "baseline")]
    pairs = _pairs(methods, metrics) if tested else []
    return Comparison(
        title=title,
        split=split,
        protocol=Protocol(
            dataset="made-up shop",
            users=users,
            items=2000,
            seen_targets=0.031,
            seen_items="keep",
            order="by time, ties as the source has them",
            selection="best mean over streams of validation NDCG@10 (600 users)",
            seed=seeds[0],
            cutoffs=CUTOFFS,
            confidence=0.95,
            bootstrap_samples=1000,
            target="the last item" if split == "test" else "the last item but one",
        ),
        axes=dict(axes),
        seeds=seeds,
        rows=rows,
        metrics=metrics,
        cells=cells,
        pairs=pairs,
        letters={metric: _letters(methods, cells, pairs, metric) for metric in metrics} if tested else {},
        slices=world.slices(finished, metrics),
        cutoff=10,
        stages={
            "vectors": {"made": 2, "reused": 0, "missing": 0, "wanted": 150},
            "ids": {"made": 26, "reused": 4, "missing": 0, "wanted": 150},
            "model": {"made": 15, "reused": 0, "missing": 0, "wanted": 75},
            "candidates": {"made": 15, "reused": 0, "missing": 0, "wanted": 75},
        },
        seconds=1834.5,
        notes=notes,
    )


class _World:
    def __init__(self, users, seeds, curves, codes):
        self.seeds, self.curves, self.codes = tuple(seeds), curves, codes
        self.rng = np.random.default_rng(5)
        self.difficulty_U = self.rng.normal(3.4, 1.9, users)
        self.length_U = 3 + self.rng.geometric(0.2, users)
        self.popularity_U = np.round(np.exp(np.maximum(3.2 - 0.6 * self.difficulty_U, 0))).astype(int) - 1
        self.merges = {}

    def ranks(self, quality, noise_U):
        rank_U = np.floor(np.exp(self.difficulty_U - quality + noise_U)).astype(np.int64)
        return np.where(rank_U < max(CUTOFFS), rank_U, ABSENT).astype(np.int32)

    def model(self, values):
        """What the variants of one model share: by seed its quality, each user's noise, and what is known of it."""
        quality = {"random_codes": -0.9, "rqvae": 0.1, "residual_kmeans": 0.25}.get(values[0] if values else "", 0.2)
        found = []
        for seed in self.seeds:
            shift = quality + self.rng.normal(0, 0.03)
            noise_SU = self.rng.normal(0, 0.6, (len(STREAMS), len(self.difficulty_U)))
            found.append((shift, noise_SU, self.trained(seed, values, shift)))
        return found

    def trained(self, seed, values, quality):
        best = 0.12 + 0.05 * quality
        curve = tuple(
            EpochRecord(
                epoch=epoch,
                losses={"behavior": 6.0 * 0.93**epoch, "text": 6.3 * 0.94**epoch},
                validation=best * (1 - np.exp(-epoch / 5)) + self.rng.normal(0, 0.0012),
                seconds=2.5,
                learning_rate=1e-3,
            )
            for epoch in range(1, 26)
        )
        return Trained(
            seed=seed,
            model_key=f"{'-'.join(values)}-{seed}",
            parameters=1_234_567,
            training_seconds=62.5 + seed,
            search_seconds=7.25,
            peak_bytes=812_000_000,
            curve=curve if self.curves else (),
            codes={stream: self.code_use(values) for stream in STREAMS} if self.codes else {},
        )

    def code_use(self, values):
        tokenizer = values[0] if values else ""
        levels = []
        for _ in range(2 if tokenizer == "kmeans_tree" else 3):
            if tokenizer == "kmeans_tree":
                counts_V = np.full(64, 31) + (np.arange(64) < 16)
            elif tokenizer == "random_codes":
                counts_V = np.bincount(self.rng.integers(0, 64, 2000), minlength=64)
            else:
                share_V = self.rng.gamma(0.7, size=64)
                counts_V = self.rng.multinomial(2000, share_V / share_V.sum())
            used = int((counts_V > 0).sum())
            levels.append(
                {
                    "vocabulary": 64,
                    "used": used,
                    "dead": 64 - used,
                    "entropy": 5.5,
                    "balance": 5.5 / 6,
                    "perplexity": 2.0**5.5,
                    "counts": np.sort(counts_V)[::-1].tolist(),
                }
            )
        return {
            "items": 2000,
            "absent": 0,
            "unread": 0,
            "collisions": 40,
            "collision_ratio": 0.02,
            "collisions_after_repair": 0,
            "levels": levels,
            "prefixes": [],
            "reconstruction_error": 0.31,
            "neighbors": 10,
            "neighborhoods": 2000,
            "categories": None,
        }

    def variant(self, name, setting, model, merge, failed):
        if failed:
            reasons = dict.fromkeys(self.seeds, "the codebook has 64 codes for 2,000 items: expected 2,000 at least")
            return ComparisonRow(name, "variant", setting, (), np.zeros((0, 0), np.int32), failures=reasons)
        gain = self.merges.setdefault(merge, [0.35, 0.5, 0.38, 0.3, 0.52][len(self.merges) % 5])
        ranks = [
            self.ranks(shift + gain, noise_SU.mean(axis=0) + self.rng.normal(0, 0.25, len(self.difficulty_U)))
            for shift, noise_SU, _ in model
        ]
        return ComparisonRow(
            name,
            "variant",
            setting,
            self.seeds,
            np.stack(ranks),
            tuple(trained for *_, trained in model),
            command=f"genrec run shop.yaml --seed SEED {' '.join(f'--set {a}={v}' for a, v in setting.items())}",
        )

    def stream(self, name, setting, model, place):
        ranks_SU = np.stack([self.ranks(shift - 0.1 * place, noise_SU[place]) for shift, noise_SU, _ in model])
        return ComparisonRow(name, "stream", setting, self.seeds, ranks_SU, tuple(trained for *_, trained in model))

    def oracle(self, name, setting, model):
        ranks = [
            np.stack([self.ranks(shift - 0.1 * place, noise_SU[place]) for place in range(len(STREAMS))])
            for shift, noise_SU, _ in model
        ]
        best = [np.where(found == ABSENT, 10**6, found).min(axis=0) for found in ranks]
        ranks_SU = np.stack([np.where(found == 10**6, ABSENT, found) for found in best]).astype(np.int32)
        return ComparisonRow(name, "oracle", setting, self.seeds, ranks_SU, tuple(trained for *_, trained in model))

    def baseline(self, name):
        quality = {"transition": 0.1}.get(name, -1.2)
        ranks_U = self.ranks(quality, self.rng.normal(0, 0.9, len(self.difficulty_U)))
        return ComparisonRow(name, "baseline", {}, self.seeds[:1], ranks_U[None])

    def slices(self, rows, metrics):
        lengths = [("3-4 items", 0, 4), ("5-6 items", 5, 6), ("7-9 items", 7, 9), ("10 items or more", 10, 10**6)]
        sales = [("bought 0 times", 0, 0), ("bought 1-3 times", 1, 3), ("bought 4-9 times", 4, 9)]
        sales.append(("bought 10 times or more", 10, 10**6))
        found = []
        for axis, bins, value_U in (
            ("history length", lengths, self.length_U),
            ("target popularity", sales, self.popularity_U),
        ):
            for label, low, high in bins:
                inside = np.flatnonzero((value_U >= low) & (value_U <= high))
                if len(inside):
                    of_rows = {row.name: _cells(row, inside, metrics) for row in rows}
                    cells = {
                        name: {metric: by_cutoff[10] for metric, by_cutoff in found.items()}
                        for name, found in of_rows.items()
                    }
                    found.append(Slice(axis, label, len(inside), cells))
        return found


def _cells(row, users, metrics):
    found = {}
    for metric in metrics:
        found[metric] = {}
        for cutoff in CUTOFFS:
            values_SU = row.values_SU(metric, cutoff)[:, users]
            value_U = values_SU.mean(axis=0)
            half = 1.96 * value_U.std() / np.sqrt(len(value_U))
            std = float(values_SU.mean(axis=1).std(ddof=1)) if len(values_SU) > 1 else None
            mean = float(value_U.mean())
            found[metric][cutoff] = Cell(mean, std, float(mean - half), float(mean + half))
    return found


def _pairs(rows, metrics):
    found, p_values = [], []
    for metric in metrics:
        for first, second in combinations(rows, 2):
            difference_U = first.values_SU(metric, 10).mean(axis=0) - second.values_SU(metric, 10).mean(axis=0)
            mean, error = float(difference_U.mean()), float(difference_U.std() / np.sqrt(len(difference_U))) or 1e-9
            shared = sorted(set(first.seeds) & set(second.seeds))
            of_seed = [
                first.values_SU(metric, 10)[first.seeds.index(seed)].mean()
                - second.values_SU(metric, 10)[second.seeds.index(seed)].mean()
                for seed in shared
            ]
            agree = int(sum(np.sign(own) == np.sign(mean) for own in of_seed)) if shared else None
            p_values.append(float(2 * stats.norm.sf(abs(mean) / error)))
            found.append((first.name, second.name, metric, mean, error, agree, len(shared)))
    corrected = holm(p_values)
    return [
        Pair(
            first,
            second,
            metric,
            10,
            mean,
            mean - 1.96 * error,
            mean + 1.96 * error,
            p,
            p_holm,
            p,
            p_holm,
            agree,
            shared,
        )
        for (first, second, metric, mean, error, agree, shared), p, p_holm in zip(
            found, p_values, corrected, strict=True
        )
    ]


def _letters(rows, cells, pairs, metric):
    """Insert and absorb (Piepho 2004): one letter for all; each difference splits the groups that hold both rows."""
    merit = METRICS.get(metric).merit
    order = sorted((row.name for row in rows), key=lambda name: -merit(cells[name][metric][10].mean))
    groups = [frozenset(order)]
    for pair in pairs:
        if pair.metric == metric and pair.verdict != "not significantly different":
            split = {pair.first, pair.second}
            groups = [part for group in groups for part in _without(group, split)]
            groups = [group for group in set(groups) if not any(group < other for other in groups)]
    groups.sort(key=lambda group: sorted(map(order.index, group)))
    return {name: "".join(chr(97 + n) for n, group in enumerate(groups) if name in group) for name in order}


def _without(group, split):
    return [group - {name} for name in split] if split <= group else [group]
