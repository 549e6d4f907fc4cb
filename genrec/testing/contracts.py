"""The contracts of the families: :func:`check` runs a component on tiny worlds and reports violations."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from genrec.contracts.demands import Demands, name_of
from genrec.contracts.results import (
    check_candidates,
    check_dataset,
    check_ids,
    check_ranking,
    check_splits,
    check_vectors,
    checked_fit,
    checked_ranking,
)
from genrec.errors import ContractError, DataError, GenrecError
from genrec.families import (
    Baseline,
    Component,
    DatasetSource,
    Decoder,
    FittedBaseline,
    HistoryEncoder,
    ItemEncoder,
    Merge,
    SplitRule,
    StartedLogger,
    Task,
    Tokenizer,
    TrainingLogger,
)
from genrec.runtime.environment import Environment, WorkContext
from genrec.testing._component import check_component, unchanged
from genrec.testing._new_items import check_encode_new
from genrec.testing.worlds import (
    NUM_ITEMS,
    STREAMS,
    tiny_candidates,
    tiny_catalog,
    tiny_dataset,
    tiny_histories,
    tiny_vectors,
)
from genrec.training.log import EpochRecord, TrainingLog
from genrec.types import ABSENT, Candidates, Dataset, Histories, ItemVectors, Ranking, SemanticIds


def check(
    component: Component,
    *,
    data: Path | None = None,
    recipe: Path | None = None,
    dataset: Dataset | None = None,
    quiet: bool = False,
) -> None:
    """Check a component against the contract of its family, on tiny worlds, and print the sentences that hold.

    Args:
        component: an instance, built with the arguments to test.
        data: the data folder, where a dataset and other components that name files find them.
        recipe: the folder of the recipe, where components that name files find them too.
        dataset: for item encoders and tokenizers whose files describe certain items: the dataset of these items, used
            instead of a tiny world.
        quiet: print nothing.

    Raises:
        ContractError: it breaks the contract; the text has its file and the broken sentence.
        PluginError: its code raised an exception; the text has file and line.
        GenrecError: it is no component; or raised by the component on purpose, e.g. because weights are missing.
    """
    if not isinstance(component, Component):
        name = getattr(component, "__name__", repr(component))
        raise GenrecError(
            f"check: found {name} ({type(component).__name__}), expected a component, such as Borda(depth=3); "
            "a metric is checked when a recipe names it"
        )
    demand = Demands(component)
    try:
        _check(component, Environment(data=data, recipe=recipe), dataset, demand)
    except GenrecError:
        raise
    except Exception as error:
        raise demand.failed(error) from error
    finally:
        if not quiet:
            print(f"{name_of(component)} keeps {len(demand.kept)} sentences of its contract:")
            for sentence in demand.kept:
                print(f"  ok: {sentence}")


def _check(component: Component, environment: Environment, dataset: Dataset | None, demand: Demands) -> None:
    check_component(component, environment, demand)
    match component:
        case DatasetSource():
            _check_dataset(component, demand, environment.data)
        case SplitRule():
            _check_split(component, demand)
        case ItemEncoder():
            _check_item_encoder(component, environment, dataset, demand)
        case Tokenizer():
            _check_tokenizer(component, environment, dataset, demand)
        case Merge():
            _check_merge(component, demand)
        case Baseline():
            _check_baseline(component, environment, demand)
        case TrainingLogger():
            _check_logger(component, demand)
        case HistoryEncoder() | Decoder() | Task():
            from genrec.testing._modules import check_module

            check_module(component, demand)
        case _:
            demand(False, "a component belongs to one of the ten families")


def _check_dataset(source: DatasetSource, demand: Demands, data: Path | None) -> None:
    first, second = source.load(data), source.load(data)
    check_dataset(first, demand)
    demand(len(first.catalog) > 0 and len(first.histories) > 0, "a dataset has items and users")
    demand(first.histories.lengths.min() > 0, "every user has at least one item")
    demand(len(first.valid) > 0, "some user has the three items that a split needs")
    demand(first.fingerprint and first.fingerprint == second.fingerprint, "loading twice gives one fingerprint")
    same = (
        first.catalog.keys == second.catalog.keys
        and first.catalog.texts == second.catalog.texts
        and first.catalog.attributes == second.catalog.attributes
        and first.catalog.columns == second.catalog.columns
        and first.user_keys == second.user_keys
        and np.array_equal(first.histories.items, second.histories.items)
        and np.array_equal(first.histories.offsets, second.histories.offsets)
    )
    demand(same, "loading twice gives the same items, users and histories in the same order")
    if first.times is not None:
        demand(first.times.dtype == np.int64, "times are int64")
        demand(second.times is not None and unchanged(second.times, first.times), "loading twice gives the same times")
    images = first.catalog.images
    if images is not None:
        counts_I = images.counts_I
        demand(counts_I.shape == (len(first.catalog),), "counts_I of the images has an entry an item")
        demand(
            counts_I.dtype == np.int32 and (counts_I >= 0).all(), "counts_I is int32, and no item has less than none"
        )
        for item in np.flatnonzero(counts_I)[:3].tolist():
            for number in range(min(int(counts_I[item]), 3)):
                demand(images.open(item, number).mode == "RGB", "an image is opened as RGB")


def _check_split(rule: SplitRule, demand: Demands) -> None:
    dataset = tiny_dataset(100)
    parts, again = rule.split(dataset), rule.split(dataset)
    if parts is None:
        demand(again is None, "split() gives None for leave-one-out")
        return
    check_splits(parts, dataset, demand)
    demand(again is not None and _same(parts.train, again.train), "splitting twice gives the same")
    demand(bool(parts.text), "text describes the split")
    items = dataset.histories.items.copy()
    last_U = dataset.histories.offsets[1:][parts.test.users] - 1
    items[last_U] = (items[last_U] + 1) % dataset.num_items
    leaky = rule.split(replace(dataset, histories=Histories(items, dataset.histories.offsets)))
    demand(leaky is not None and _same(parts.train, leaky.train), "the last items of test users change no training")
    kept = parts.with_kept_items()
    count = dataset.num_items if parts.kept_I is None else int(parts.kept_I.sum())
    largest = max(part.items.max() for part in (kept.train, kept.train_and_valid, kept.test.target_lists))
    demand(largest < count, "kept items are numbered from 0 on")


def _same(first: Histories, second: Histories) -> bool:
    return np.array_equal(first.items, second.items) and np.array_equal(first.offsets, second.offsets)


def _check_item_encoder(
    encoder: ItemEncoder, environment: Environment, dataset: Dataset | None, demand: Demands
) -> None:
    first, second = WorkContext(1, environment), WorkContext(2, environment)
    catalog, train = (tiny_catalog(), tiny_histories()) if dataset is None else (dataset.catalog, dataset.train)
    items, offsets = train.items.copy(), train.offsets.copy()
    encoder.prepare(catalog, context=first)
    vectors = encoder.encode(catalog, train, context=first)
    check_vectors(vectors, len(catalog), demand)
    demand(vectors.present_I.any(), "an item that has a title, a text, an image and a history has a vector")
    demand(not vectors.vectors_IE[~vectors.present_I].any(), "the rows of absent items are zero")
    demand(unchanged(train.items, items) and unchanged(train.offsets, offsets), "encode() leaves its inputs alone")
    again = encoder.encode(catalog, train, context=first)
    demand(unchanged(again.vectors_IE, vectors.vectors_IE), "the same seed gives the same vectors")
    demand(unchanged(again.present_I, vectors.present_I), "the same items are present every time")
    if not encoder.is_random:
        other = encoder.encode(catalog, train, context=second)
        demand(
            unchanged(other.vectors_IE, vectors.vectors_IE),
            "another seed gives the same vectors, or the class sets is_random",
        )
    if not encoder.reads_histories:
        other = encoder.encode(catalog, train.without_last(1), context=first)
        demand(
            unchanged(other.vectors_IE, vectors.vectors_IE),
            "other histories give the same vectors, or the class does not set reads_histories = False",
        )
    check_encode_new(encoder, catalog, vectors, first, demand)


def _check_tokenizer(tokenizer: Tokenizer, environment: Environment, dataset: Dataset | None, demand: Demands) -> None:
    first, second = WorkContext(1, environment), WorkContext(2, environment)
    keys = (tiny_catalog() if dataset is None else dataset.catalog).keys
    num_items, reads_vectors = len(keys), dataset is None or tokenizer.reads_vectors
    vectors = tiny_vectors(num_items)
    before = vectors.vectors_IE.copy()
    ids = tokenizer.fit(vectors, keys=keys, context=first)
    demand(unchanged(vectors.vectors_IE, before), "fit() leaves the vectors alone")
    check_ids(ids, vectors, demand, reads_vectors=reads_vectors)
    again = tokenizer.fit(tiny_vectors(num_items), keys=keys, context=first)
    demand(_same_ids(ids, again), "the same seed gives the same codes")
    if not tokenizer.is_random:
        demand(
            _same_ids(ids, tokenizer.fit(vectors, keys=keys, context=second)),
            "another seed gives the same codes, or the class sets is_random",
        )
    shifted = np.where(vectors.present_I[:, None], vectors.vectors_IE, np.float32(1e6))
    other = tokenizer.fit(ItemVectors(shifted, vectors.present_I), keys=keys, context=first)
    demand(_same_ids(ids, other), "the rows of absent items are never used")
    _check_assign(tokenizer, ids, vectors, ItemVectors(shifted, vectors.present_I), demand)
    alike = ItemVectors(np.where(vectors.present_I[:, None], np.float32(1), np.float32(0)), vectors.present_I)
    alike = ItemVectors(np.ascontiguousarray(np.broadcast_to(alike.vectors_IE, (num_items, 8))), vectors.present_I)
    check_ids(tokenizer.fit(alike, keys=keys, context=first), alike, demand, reads_vectors=reads_vectors)
    one = slice(row := int(ids.present_I.argmax()), row + 1)
    single = ItemVectors(vectors.vectors_IE[one], vectors.present_I[one])
    check_ids(tokenizer.fit(single, keys=keys[one], context=first), single, demand, reads_vectors=reads_vectors)


def _check_assign(
    tokenizer: Tokenizer, ids: SemanticIds, vectors: ItemVectors, shifted: ItemVectors, demand: Demands
) -> None:
    """Assign six new items to the known ones; ``shifted`` are the known ones with other rows where items are absent."""
    new = tiny_vectors(6, absent=(2,), seed=9)
    codes, codebook = ids.codes_IL.copy(), {name: part.copy() for name, part in ids.codebook.items()}
    known, came, num_known = vectors.vectors_IE.copy(), new.vectors_IE.copy(), len(codes)
    try:
        wider = tokenizer.assign(ids, vectors, new)
    except DataError:
        taken_NL = np.pad(ids.codes_IL[ids.present_I], ((0, 0), (1, 0)))
        room = len(np.unique(taken_NL[:, :-1], axis=0)) * ids.vocabulary_sizes[-1] - len(taken_NL)
        demand(room < new.present_I.sum(), "assign() finds the codes that are free below the paths of known items")
        return
    demand(unchanged(ids.codes_IL, codes), "assign() leaves the given codes alone")
    demand(
        unchanged(vectors.vectors_IE, known) and unchanged(new.vectors_IE, came), "assign() leaves the vectors alone"
    )
    demand(len(wider.codes_IL) == num_known + 6, "assign() gives the rows of known items, then those of new ones")
    demand(np.array_equal(wider.codes_IL[:num_known], codes), "known items keep their codes")
    demand(wider.vocabulary_sizes == ids.vocabulary_sizes, "vocabularies stay unchanged, as trained models need them")
    demand(
        wider.codebook.keys() == codebook.keys()
        and all(unchanged(wider.codebook[name], part) for name, part in codebook.items()),
        "the codebook stays unchanged",
    )
    demand(np.array_equal(wider.present_I[num_known:], new.present_I), "new items get codes, absent ones get none")
    demand(_same_ids(wider, tokenizer.assign(ids, vectors, new)), "the same items get the same codes every time")
    demand(_same_ids(wider, tokenizer.assign(ids, shifted, new)), "absent items are never neighbors")
    empty = ItemVectors(new.vectors_IE[:0], new.present_I[:0])
    demand(_same_ids(tokenizer.assign(ids, vectors, empty), ids), "without new items the codes stay unchanged")
    narrow = ItemVectors(np.ascontiguousarray(new.vectors_IE[:, :3]), new.present_I)
    try:
        tokenizer.assign(ids, vectors, narrow)
    except DataError:
        return
    demand(False, "assign() refuses vectors of another width, with a DataError")


def _same_ids(first: SemanticIds, second: SemanticIds) -> bool:
    return np.array_equal(first.codes_IL, second.codes_IL) and first.vocabulary_sizes == second.vocabulary_sizes


def _check_merge(merge: Merge, demand: Demands) -> None:
    three = tiny_candidates(with_scores=merge.needs_scores)
    targets = np.maximum(three.items_BC[:, 0], 0)
    before = merge.block()
    fitted = checked_fit(merge, three, targets, demand)
    demand(merge.block() == before, "fit() returns another merge and leaves this one unchanged")
    demand(fitted.fit(three, targets).block() == fitted.block(), "fitting again to the same data changes nothing")
    _check_ranking_of(fitted, three, demand)
    refused = []
    for name in STREAMS:
        alone = tiny_candidates((name,), with_scores=merge.needs_scores)
        try:
            _check_ranking_of(merge.fit(alone, targets), alone, demand)
        except ContractError:
            raise
        except GenrecError as error:
            refused.append(error)
    found = str(refused[0]) if refused else ""
    demand(len(refused) < len(STREAMS), "a merge works with one stream as well", found)


def _check_ranking_of(merge: Merge, candidates: Candidates, demand: Demands) -> None:
    arrays = ("items_BC", "log_probs_BCS", "ranks_BCS", "entropy_BS", "code_lengths_S")
    before = {name: getattr(candidates, name).copy() for name in arrays}
    users, width = candidates.items_BC.shape
    longer, shorter = width + 5, 3
    ranking = merge.merge(candidates, top_n=longer)
    demand(
        all(unchanged(getattr(candidates, name), before[name]) for name in arrays),
        "merge() leaves the candidates alone",
    )
    check_ranking(ranking, users, longer, demand)
    check_candidates(ranking, candidates, demand)
    again = merge.merge(candidates, top_n=longer)
    demand(_same_ranking(ranking, again), "the same candidates give the same ranking")
    top = merge.merge(candidates, top_n=shorter)
    check_ranking(top, users, shorter, demand)
    start = Ranking(ranking.items_BN[:, :shorter], ranking.scores_BN[:, :shorter])
    demand(_same_ranking(top, start), "a shorter ranking is the start of a longer one")
    rows = np.array([4, 0])
    some = Ranking(ranking.items_BN[rows], ranking.scores_BN[rows])
    demand(_same_ranking(merge.merge(candidates.take(rows), top_n=longer), some), "users are ranked independently")
    order = np.random.default_rng(0).permutation(width)
    shuffled = Candidates(
        candidates.streams,
        candidates.items_BC[:, order],
        candidates.log_probs_BCS[:, order],
        candidates.ranks_BCS[:, order],
        candidates.entropy_BS,
        candidates.code_lengths_S,
    )
    other = merge.merge(shuffled, top_n=longer)
    for user in range(users):
        first, second = _score_of(ranking, user), _score_of(other, user)
        same = first.keys() == second.keys() and all(np.isclose(first[i], second[i], rtol=1e-4) for i in first)
        demand(same, "the order of the candidates does not matter: an item keeps its score when they are shuffled")


def _score_of(ranking: Ranking, user: int) -> dict[int, float]:
    """Score by item of one user's ranking."""
    pairs = zip(ranking.items_BN[user].tolist(), ranking.scores_BN[user].tolist(), strict=True)
    return {item: score for item, score in pairs if item != ABSENT}


def _same_ranking(first: Ranking, second: Ranking) -> bool:
    return np.array_equal(first.items_BN, second.items_BN) and np.allclose(first.scores_BN, second.scores_BN)


def _same_up_to_rounding(first: Ranking, second: Ranking) -> bool:
    """Whether rankings of the whole catalog agree, but for scores that differ by rounding and the order of those.

    A network sums in another order when it ranks another number of users. Scores may differ by 1e-5 of the largest
    of their row; items whose scores are further apart than that stand in the same order.
    """
    if first.items_BN.shape != second.items_BN.shape:
        return False
    for user in range(len(first.items_BN)):
        one, other = _score_of(first, user), _score_of(second, user)
        tolerance = 1e-5 * max(map(abs, one.values()), default=0.0)
        if one.keys() != other.keys() or any(abs(one[item] - other[item]) > tolerance for item in one):
            return False
    return True


def _check_baseline(baseline: Baseline, environment: Environment, demand: Demands) -> None:
    first, second = WorkContext(1, environment), WorkContext(2, environment)
    catalog, train = tiny_catalog(), tiny_histories()
    items = train.items.copy()
    fitted = baseline.fit(catalog, train, context=first)
    histories = tiny_histories(num_users=7, seed=5)
    top_n = NUM_ITEMS + 4
    ranking = checked_ranking(fitted, histories, NUM_ITEMS, demand, top_n=top_n, exclude_seen=False)
    demand(unchanged(train.items, items), "fit() leaves the training histories alone")
    demand(
        _same_ranking(
            baseline.fit(catalog, train, context=first).rank(histories, top_n=top_n, exclude_seen=False), ranking
        ),
        "the same seed gives the same ranking",
    )
    if not baseline.is_random:
        other = baseline.fit(catalog, train, context=second).rank(histories, top_n=top_n, exclude_seen=False)
        demand(_same_ranking(other, ranking), "another seed gives the same ranking, or the class sets is_random")
    short = fitted.rank(histories, top_n=4, exclude_seen=False)
    start = Ranking(ranking.items_BN[:, :4], ranking.scores_BN[:, :4])
    demand(_same_ranking(short, start), "a shorter ranking is the start of a longer one")
    rows = np.array([5, 2])
    some = Ranking(ranking.items_BN[rows], ranking.scores_BN[rows])
    alone = fitted.rank(histories.take(rows), top_n=top_n, exclude_seen=False)
    if baseline.is_trained:
        demand(_same_up_to_rounding(alone, some), "users are ranked independently, up to the rounding of scores")
    else:
        demand(_same_ranking(alone, some), "users are ranked independently")
    checked_ranking(fitted, histories, NUM_ITEMS, demand, top_n=top_n, exclude_seen=True)
    empty = fitted.rank(Histories.of([]), top_n=3, exclude_seen=True)
    demand(empty.items_BN.shape == (0, 3), "no users give an empty ranking")
    _check_validated(baseline, environment, histories, demand)


def _check_validated(baseline: Baseline, environment: Environment, histories: Histories, demand: Demands) -> None:
    """Check early stopping, the choice of settings, and resuming."""
    catalog, train, targets = tiny_catalog(), tiny_histories(), np.arange(len(histories))

    def validate(fitted: FittedBaseline) -> float:
        ranking = fitted.rank(histories, top_n=10, exclude_seen=False)
        return float((ranking.items_BN == targets[:, None]).any(axis=1).mean())

    def ranked(fitted: FittedBaseline) -> Ranking:
        return fitted.rank(histories, top_n=NUM_ITEMS, exclude_seen=False)

    with TemporaryDirectory() as folder:
        context = WorkContext(1, environment, Path(folder) / "fit")
        fitted = baseline.fit_validated(catalog, train, context=context, validate=validate)
        again = baseline.fit_validated(catalog, train, context=context, validate=validate)
        demand(_same_ranking(ranked(again), ranked(fitted)), "fit_validated() resumes to the same ranking")
    alone = (fitted.chosen or baseline).fit(catalog, train, context=WorkContext(1, environment))
    demand(_same_ranking(ranked(alone), ranked(fitted)), "fit() of ``chosen`` gives the same without validation")


def _check_logger(logger: TrainingLogger, demand: Demands) -> None:
    """Two epochs, an interruption in the third, and a second attempt at it that has no validation."""
    import torch

    logger.prepare()
    before = logger.block()
    with TemporaryDirectory() as root:
        folder = Path(root) / "logs" / logger.type_name
        log, state = TrainingLog(), torch.random.get_rng_state()
        for first_epoch, last_epoch in ((1, 3), (3, 4)):
            started = logger.start(folder, title="tiny", hyperparameters={"patience": 3}, step=5 * (first_epoch - 1))
            demand(isinstance(started, StartedLogger), "start() gives a StartedLogger")
            log.epochs = log.epochs[: first_epoch - 1]
            for epoch in range(first_epoch, last_epoch + 1):
                for step in range(5 * epoch - 4, 5 * epoch + 1):
                    started.log_step(step, {"text": 2 / step, "a task": 0.5}, 1e-3)
                demand(torch.equal(torch.random.get_rng_state(), state), "log_step() draws no random numbers of torch")
                score = 0.1 * epoch if last_epoch == 3 else None
                log.epochs.append(EpochRecord(epoch, {"text": 1 / epoch, "a task": 0.5}, score, 2.0, 1e-3, 64.0))
                started.log_epoch(log.epochs[-1], 5 * epoch)
            log.best_epoch, log.stopped_by = last_epoch, "" if last_epoch == 3 else "max_epochs"
            started.finish(log)
        outside = [path for path in Path(root).rglob("*") if folder not in path.parents and path.is_file()]
        demand(not outside, "a logger writes only below its folder")
        again = logger.start(Path(root) / "fails", title="fails", hyperparameters={}, step=0)
        again.finish(TrainingLog())
    demand(logger.block() == before, "start() leaves the logger unchanged: the StartedLogger holds what it opens")
