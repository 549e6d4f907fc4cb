"""The whole system on one page: a recipe and a folder in, a report out; finished stages are reused.

Read :func:`run` first: files -> vectors -> codes -> model -> candidates -> ranking -> report.
"""

from __future__ import annotations

import inspect
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, partial
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from genrec.absent_items import like_nearest, with_own_branch
from genrec.devices import chosen_device
from genrec.errors import DataError
from genrec.evaluation.audit import Audit, audit
from genrec.evaluation.metrics import mean_ndcg
from genrec.evaluation.report import Epoch, Kind, Protocol, Report, evaluate, paired_tests
from genrec.families import Merge
from genrec.merges.single import Single
from genrec.model.contracts import StreamContext
from genrec.model.retriever import Retriever
from genrec.progress import console
from genrec.recipe.schema import Recipe, Stream
from genrec.run_folder import RunFolder
from genrec.search.candidates import load_candidates, save_candidates
from genrec.search.dense import item_numbers
from genrec.search.streams import search_streams
from genrec.search.trie import Trie
from genrec.seeds import derive
from genrec.sources import source_hash
from genrec.stages import Stages, address, load_ids, load_vectors, save_ids, save_vectors
from genrec.training.batches import HistoryBatches
from genrec.training.checkpoint import load_tensors, load_weights, save_json, save_tensors, weights_of
from genrec.training.trainer import TrainingLog, train
from genrec.types import Candidates, Dataset, ItemVectors, Ranking, SemanticIds, Split

_DECIDE_TRAINING = (Retriever, HistoryBatches, train, search_streams, Single, mean_ndcg)
"""What a trained model depends on beside its components: their source is in its address."""

_SELECTION = "best mean NDCG@10 of the streams alone on {users} random validation users, before any merge"


def run(recipe: Recipe, folder: RunFolder, *, data: Path | None = None) -> Report:
    """Run a recipe from its files to its report.

    Args:
        recipe: what to do.
        folder: where the run writes; an interrupted run goes on from what its stages hold.
        data: where data sets lie.

    Raises:
        GenrecError: files, weights or components are not as they must be.
    """
    seconds: dict[str, float] = {}
    stages = Stages(folder.stages)
    with _timed(seconds, "dataset"):
        dataset = recipe.dataset.load(data)
        if not len(dataset.valid):
            raise DataError(f"{dataset.name}: no user has three items or more, so nobody can be asked")
        folder.write_catalog(dataset.catalog)
        audited = audit(dataset)
        folder.write_json("audit.json", audited.to_dict())
    vectors, vectors_keys = _vectors(recipe, dataset, stages, folder, seconds)
    streams, keys = _codes(recipe, dataset, vectors, vectors_keys, stages, folder, seconds)
    model = _untrained(recipe, streams, dataset.num_items).to(chosen_device())
    tries = {name: context.trie for name, context in streams.items()}

    def search(split: Split, title: str, **changes: Any) -> Candidates:
        settings = recipe.search.model_copy(update=changes)
        return search_streams(
            model,
            tries,
            split.histories,
            settings,
            num_items=dataset.num_items,
            max_history=recipe.history_encoder.max_history,
            with_scores=recipe.merge.needs_scores and not changes,
            seen=recipe.evaluation.seen_items,
            title=title,
        )

    sample = dataset.valid.sample(recipe.training.validation_users, derive(recipe.seed, "validation users"))

    def validate() -> float:
        found = search(sample, "validating", list_length=10)
        ndcg = [mean_ndcg(Single(stream=name).merge(found, top_n=10), sample.targets) for name in found.streams]
        return sum(ndcg) / len(ndcg)

    with _timed(seconds, "training"):
        log, model_key = _train(recipe, model, dataset, keys, validate, stages, folder)

    def candidates(split: Split, name: str) -> Candidates:
        key = address(
            model=model_key,
            search=recipe.search.model_dump(),
            seen=recipe.evaluation.seen_items,
            scores=recipe.merge.needs_scores,
            split=name,
        )
        with _timed(seconds, f"search {name}"):
            found, path = stages.get(
                "candidates",
                key,
                name=name,
                work=lambda: search(split, f"searching {name}"),
                save=save_candidates,
                load=load_candidates,
            )
        folder.keep(path, f"candidates/{name}.safetensors")
        return found

    @cache
    def fitted(*names: str) -> Merge:
        """The recipe's merge; if it has anything to fit, on what these streams found for the validation users."""
        if type(recipe.merge).fit is Merge.fit:
            return recipe.merge
        return recipe.merge.fit(candidates(dataset.valid, "valid").of_streams(names), dataset.valid.targets)

    folder.write_json("merge.json", fitted(*streams).block())
    rankings = _rankings(recipe, fitted, candidates(dataset.test, "test"), dataset, seconds)
    with _timed(seconds, "evaluation"):
        rows = evaluate(rankings, dataset.test, recipe.evaluation, recipe.seed)
        tests = paired_tests(rows, recipe.evaluation, recipe.seed)
    report = Report(
        title=recipe.title,
        protocol=Protocol.of(
            dataset, recipe.evaluation, recipe.seed, selection=_SELECTION.format(users=f"{len(sample):,}")
        ),
        split=dataset.test,
        rows=rows,
        tests=tests,
        curve=[Epoch(e.epoch, e.losses, e.validation, e.seconds, e.learning_rate) for e in log.epochs],
        stage_seconds=seconds,
        parameters=_parameters(model),
        notes=_notes(recipe, audited, vectors, streams, log, model),
    )
    report.write(folder.path)
    folder.finish({"model": model_key, "stages": stages.log, "seconds": round(sum(seconds.values()), 1)})
    return report


def prepare(recipe: Recipe, folder: RunFolder, num_items: int) -> tuple[Retriever, dict[str, StreamContext]]:
    """The trained model of a finished run and its streams, from the run's own files alone."""
    streams = {}
    for name in recipe.streams:
        ids = load_ids(folder.path / "streams" / name / "ids.safetensors")
        vectors = load_vectors(folder.path / "streams" / name / "vectors.safetensors")
        streams[name] = StreamContext(ids, Trie.of(ids), vectors)
    model = _untrained(recipe, streams, num_items)
    load_weights(model, load_tensors(folder.path / "model.safetensors"))
    return model.eval(), streams


def _vectors(
    recipe: Recipe, dataset: Dataset, stages: Stages, folder: RunFolder, seconds: dict[str, float]
) -> tuple[dict[str, ItemVectors], dict[str, str]]:
    """Item vectors of every stream, and the addresses that stand for them."""
    seeds = {name: derive(recipe.seed, "item encoder", name) for name in recipe.streams}
    keys = {
        name: address(
            component=stream.item_encoder.identity(),
            data=(recipe.dataset.identity(), dataset.fingerprint),
            seed=seeds[name] if stream.item_encoder.is_random else None,
        )
        for name, stream in recipe.streams.items()
    }
    for name, stream in recipe.streams.items():
        if not stages.path("vectors", keys[name]).is_file():
            stream.item_encoder.prepare(dataset.catalog)  # what is missing is said before another stream's work
    vectors = {}
    for name, stream in recipe.streams.items():
        unfinished = stages.path("unfinished", keys[name])
        work = partial(
            stream.item_encoder.encode_resumable, dataset.catalog, dataset.train, seed=seeds[name], folder=unfinished
        )
        with _timed(seconds, f"vectors of {name}"):
            vectors[name], path = stages.get(
                "vectors", keys[name], name=name, work=work, save=save_vectors, load=load_vectors
            )
            shutil.rmtree(unfinished, ignore_errors=True)
            folder.keep(path, f"streams/{name}/vectors.safetensors")
    return vectors, keys


def _codes(
    recipe: Recipe,
    dataset: Dataset,
    vectors: Mapping[str, ItemVectors],
    vectors_keys: Mapping[str, str],
    stages: Stages,
    folder: RunFolder,
    seconds: dict[str, float],
) -> tuple[dict[str, StreamContext], dict[str, str]]:
    """Codes of every stream, those of its absent items included, and the addresses that stand for them."""
    streams, keys = {}, {}
    for name, stream in recipe.streams.items():
        tokenizer, seed = stream.tokenizer, derive(recipe.seed, "tokenizer", name)
        known = vectors[name]
        if stream.nearest_in is not None:
            known = like_nearest(known, vectors[stream.nearest_in])
        with _timed(seconds, f"codes of {name}"):
            keys[name] = address(
                component=tokenizer.identity() if tokenizer else None,
                vectors=vectors_keys[name],
                absent_items=stream.absent_items,
                nearest_in=vectors_keys[stream.nearest_in] if stream.nearest_in else None,
                source=source_hash(Path(inspect.getfile(like_nearest))),
                seed=seed if tokenizer and tokenizer.is_random else None,
            )
            ids, path = stages.get(
                "ids",
                keys[name],
                name=name,
                work=partial(_fit_codes, stream, known, seed, dataset.catalog.keys),
                save=save_ids,
                load=load_ids,
            )
            folder.keep(path, f"streams/{name}/ids.safetensors")
        streams[name] = StreamContext(ids, Trie.of(ids), known)
    return streams, keys


def _fit_codes(stream: Stream, vectors: ItemVectors, seed: int, keys: tuple[str, ...]) -> SemanticIds:
    if stream.tokenizer is None:
        return item_numbers(vectors)
    ids = stream.tokenizer.fit(vectors, seed=seed, keys=keys)
    return ids if stream.absent_items == "leave_out" else with_own_branch(ids)


def _untrained(recipe: Recipe, streams: Mapping[str, StreamContext], num_items: int) -> Retriever:
    decoders = {name: stream.decoder for name, stream in recipe.streams.items()}
    return Retriever(
        recipe.history_encoder, decoders, recipe.tasks, streams, num_items=num_items, seed=derive(recipe.seed, "model")
    )


def _train(
    recipe: Recipe,
    model: Retriever,
    dataset: Dataset,
    keys: Mapping[str, str],
    validate: Callable[[], float],
    stages: Stages,
    folder: RunFolder,
) -> tuple[TrainingLog, str]:
    """Train the model, or load what was trained before; the model is left with its best weights."""
    key = address(
        streams=[(name, ids, recipe.streams[name].decoder.identity()) for name, ids in keys.items()],
        history_encoder=recipe.history_encoder.identity(),
        tasks=[task.identity() for task in recipe.tasks],
        training=recipe.training.model_dump(),
        source=source_hash(*(Path(inspect.getfile(part)) for part in _DECIDE_TRAINING)),
        validation=(recipe.search.model_dump(exclude={"list_length"}), recipe.evaluation.seen_items),
        seed=recipe.seed,
    )

    def work() -> TrainingLog:
        batches = HistoryBatches(
            dataset.train,
            num_items=dataset.num_items,
            max_history=recipe.history_encoder.max_history,
            batch_size=recipe.training.batch_size,
            each_position=model.is_causal,
            seed=derive(recipe.seed, "batches"),
            device=next(model.parameters()).device,
        )
        title = "training " + "+".join(recipe.streams)
        return train(
            model,
            batches.epoch,
            model.losses,
            recipe.training,
            validate=validate,
            seed=derive(recipe.seed, "training"),
            title=title,
            folder=stages.path("training", key),
        )

    def save(log: TrainingLog, path: Path) -> None:
        save_json(log.as_json(), path.with_name(f"log-{key}.json"))
        save_tensors(weights_of(model), path)

    def load(path: Path) -> TrainingLog:
        load_weights(model, load_tensors(path))
        return TrainingLog.from_file(path.with_name(f"log-{key}.json"))

    log, path = stages.get("model", key, name="+".join(recipe.streams), work=work, save=save, load=load)
    shutil.rmtree(stages.path("training", key), ignore_errors=True)
    folder.keep(path, "model.safetensors")
    folder.write_json("training.json", log.as_json())
    return log, key


def _rankings(
    recipe: Recipe, fitted: Callable[..., Merge], found: Candidates, dataset: Dataset, seconds: dict[str, float]
) -> dict[str, tuple[Kind, Ranking]]:
    """Every method's lists for the test users: the merge, that of each pair of streams, each stream, each baseline."""
    top_n = max(recipe.evaluation.cutoffs)
    rankings: dict[str, tuple[Kind, Ranking]] = {}
    with _timed(seconds, "merge"):
        if len(found.streams) > 1:
            name = f"merge: {recipe.merge.type_name}"
            rankings[name] = "merge", fitted(*found.streams).merge(found, top_n=top_n)
        if len(found.streams) > 2:
            for pair in combinations(found.streams, 2):
                if set(recipe.merge.streams_used()) <= set(pair):
                    ranking = fitted(*pair).merge(found.of_streams(pair), top_n=top_n)
                    rankings[f"pair: {' + '.join(pair)}"] = "pair", ranking
        for name in found.streams:
            rankings[f"stream: {name}"] = "stream", Single(stream=name).merge(found, top_n=top_n)
    for baseline in recipe.baselines:
        with _timed(seconds, f"baseline {baseline.type_name}"):
            yardstick = baseline.fit(
                dataset.catalog, dataset.train, seed=derive(recipe.seed, "baseline", baseline.type_name)
            )
            ranking = yardstick.rank(
                dataset.test.histories, top_n=top_n, exclude_seen=recipe.evaluation.seen_items == "filter"
            )
        rankings[baseline.type_name] = "baseline", ranking
    return rankings


def _parameters(model: Retriever) -> dict[str, int]:
    """Trainable numbers by part; what parts share counts once, where it is first."""
    counts: dict[str, int] = {}
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0].strip("_").replace("_", " ")
        counts[part] = counts.get(part, 0) + parameter.numel()
    return counts


def _notes(
    recipe: Recipe,
    audited: Audit,
    vectors: Mapping[str, ItemVectors],
    streams: Mapping[str, StreamContext],
    log: TrainingLog,
    model: Retriever,
) -> tuple[str, ...]:
    notes = [f"data: {note}" for note in audited.notes]
    notes += [f"audit: {line}" for line in audited.lines()]
    for name, context in streams.items():
        notes += [f"stream {name}: {note}" for note in (*context.vectors.notes, *context.ids.notes)]
        notes += [f"stream {name}: {note}" for note in _absent(recipe.streams[name], vectors[name], context)]
        if context.ids.collisions:
            notes.append(f"stream {name}: {context.ids.collisions:,} items shared a code before repair")
    device, threads = next(model.parameters()).device, torch.get_num_threads()
    notes.append(
        f"training: best of {len(log.epochs)} epochs was {log.best_epoch}, stopped by {log.stopped_by}, "
        f"{log.seconds / 60:.1f} minutes on {device} with {threads} thread{'s' if threads > 1 else ''}"
    )
    return tuple(notes)


def _absent(stream: Stream, vectors: ItemVectors, context: StreamContext) -> Iterator[str]:
    """How many items the encoder could not read, and what became of them."""
    num_items, ids = len(vectors.present_I), context.ids
    if near := int((context.vectors.present_I & ~vectors.present_I).sum()):
        guide = stream.nearest_in
        yield f"{near:,} of {num_items:,} items have nothing to encode and are coded as the nearest in {guide}"
    if apart := int((~context.vectors.present_I & ids.present_I).sum()):
        yield f"{apart:,} of {num_items:,} items have nothing to encode and have codes in a branch of their own"
    if absent := int((~ids.present_I).sum()):
        yield (
            f"{absent:,} of {num_items:,} items have no code and are never proposed; a merge by confidence or rank "
            "favours the rest"
        )


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - began
    if seconds[stage] > 1:
        console.print(f"{stage}: {seconds[stage]:.1f} s", style="dim")
