"""The benchmarks at tiny sizes: both sides of each comparison give valid lists, the same where weights are the same."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import _clock
import _models
import _results
import curves
import exact_search
import hugging_face
import recommender
import released_eager
import scaling
import tables
import tries

from genrec.semantic_ids.trie import Trie

pytestmark = pytest.mark.slow

TINY = _models.Sizes(
    num_items=30,
    num_levels=2,
    branching=6,
    num_streams=1,
    dim=16,
    num_heads=2,
    feedforward_dim=32,
    decoder_layers=2,
    history=4,
)
WIDE = _models.Widths(beam_width=30, list_length=30)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("levels", "branching"), [(1, 6), (2, 6), (3, 4), (4, 3)])
def test_random_ids_are_different_and_inside_their_vocabularies(levels, branching):
    sizes = replace(TINY, num_levels=levels, branching=branching)
    codes_IL = _models.random_ids(sizes, seed=3).codes_IL
    assert len(np.unique(codes_IL, axis=0)) == 30
    assert (codes_IL >= 0).all()
    assert (codes_IL < np.array(sizes.vocabulary_sizes)).all()
    first = np.bincount(codes_IL[:, 0])
    assert first.max() - first.min() <= 1


def test_too_many_items_are_refused():
    with pytest.raises(ValueError, match="37 items do not fit into 2 levels of 6 codes"):
        _models.random_ids(replace(TINY, num_items=37), seed=0)


@pytest.mark.parametrize(("levels", "streams", "megaflop"), [(2, 2, 412), (2, 3, 613), (3, 2, 801), (3, 3, 1197)])
def test_least_operations_of_the_published_sizes(levels, streams, megaflop):
    sizes = _models.Sizes(num_levels=levels, num_streams=streams)
    known = {str(stream): Trie.of(_models.random_ids(sizes, seed=stream)) for stream in range(streams)}
    assert _models.decoding_flop(sizes, known) / 1e6 == pytest.approx(megaflop, abs=0.7)


def test_faults_of_lists_are_counted():
    assert _models.count_faults([[1, 2, 3], [0]], num_items=4) == 0
    assert _models.count_faults([[1, 1, 3], [-1], [4]], num_items=4) == 3


def test_sides_take_turns_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(_clock, "TURN_SECONDS", 0.01)
    heard = tmp_path / "heard"
    here: set[str] = set()

    def side(name: str, seconds: float) -> None:
        if not here:  # a turn's first call: nothing of another side's turn, or of an earlier one, is in its process
            with heard.open("a") as file:
                file.write(name)
        here.add(name)
        assert here == {name}
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass

    found = _clock.take_turns({"a": lambda: side("a", 0.02), "b": lambda: side("b", 0.001)}, repeats=2)
    assert heard.read_text() == "abab"
    assert not here
    assert 0.02 <= found["a"] < 0.2
    assert 0.001 <= found["b"] < 0.01


def test_what_goes_wrong_in_a_process_of_its_own_is_told():
    assert _clock.in_own_process(lambda: [1, 2]) == [1, 2]
    with pytest.raises(RuntimeError, match=r"ZeroDivisionError: .*zero"):
        _clock.in_own_process(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match="killed"):
        _clock.in_own_process(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_agreement_counts_items_and_places():
    assert exact_search.agreement([[1, 2, 3], [4, 5]], [[1, 3, 2], [4, 6]]) == (0.8, 0.4)
    assert exact_search.agreement([[1]], [[1, 2]]) == (0.5, 0.5)


def test_bound_has_the_exact_lists_and_a_narrow_beam_has_not(monkeypatch):
    monkeypatch.setattr(_clock, "TURN_SECONDS", 0.001)
    retriever, known = _models.build_retriever(replace(TINY, num_streams=2, vocabulary="path"))
    subject = SimpleNamespace(model=retriever, tries=known)
    histories = _models.random_histories(TINY, 5)
    rows = exact_search.compare(subject, histories, [3, 8], beam_width=1, repeats=1)
    assert [row[:2] for row in rows] == [[length, name] for length in (3, 8) for name in known]
    for row in rows:
        assert all(speed > 0 for speed in row[2:5])
        assert 0 < row[5] <= 6
        assert float(row[6]) < 1
        assert row[8:] == ["1.0000", "1.0000"]
    wide = exact_search.compare(subject, histories, [8], beam_width=6, repeats=1)
    assert all(row[6:] == ["1.0000"] * 4 for row in wide)


@pytest.mark.parametrize(("vocabulary", "levels"), [("level", 2), ("level", 3), ("path", 2), ("path", 3)])
def test_t5_and_genrec_both_find_the_best_items_of_the_trie(vocabulary, levels):
    sizes = replace(TINY, vocabulary=vocabulary, num_levels=levels)
    retriever, known = _models.build_retriever(sizes)
    [trie] = known.values()
    histories = _models.random_histories(sizes, 3)
    history_BT = torch.from_numpy(histories.last(sizes.history, padding=sizes.num_items)[0])
    ours = _models.lists_of(_models.search(retriever, known, histories, **WIDE), 0)
    assert ours == _models.lists_of(_models.search(retriever, known, histories, method="exact", **WIDE), 0)

    tokens = hugging_face.Tokens(trie, vocabulary)
    model = hugging_face.T5(sizes, len(tokens))
    theirs = hugging_face.items_of(tokens, model.with_prefixes(tokens, history_BT, **WIDE))
    mask = hugging_face.TrieMask(tokens)
    assert theirs == hugging_face.items_of(tokens, model.with_mask(mask, levels, history_BT, **WIDE))
    assert _models.count_faults(theirs + ours, sizes.num_items) == 0
    for history_T, found in zip(history_BT, theirs, strict=True):
        scores_I = _teacher_forced(model, tokens, history_T)
        np.testing.assert_allclose(scores_I[found], np.sort(scores_I)[::-1], atol=1e-4)


def _teacher_forced(model: hugging_face.T5, tokens: hugging_face.Tokens, history_T: torch.Tensor) -> np.ndarray:
    """What T5 says of every item without any search."""
    target_IL = torch.from_numpy(tokens.of_items_IL)
    read_IL = torch.nn.functional.pad(target_IL[:, :-1], (1, 0), value=hugging_face.START)
    with torch.inference_mode():
        states = model.items(history_T.expand(len(target_IL), -1))
        logits_ILV = model.model(inputs_embeds=states, decoder_input_ids=read_IL).logits
    return logits_ILV.log_softmax(-1).gather(2, target_IL[:, :, None]).sum((1, 2)).numpy()


def test_batches_that_do_not_fit_are_halved():
    tokens = 1 + 2 * TINY.branching
    limit = 1.5 * hugging_face.needed_bytes(TINY, tokens, batch=2, beam_width=4)
    subject = _models.random_model(TINY)
    rows = hugging_face.compare(subject, [1, 8], beam_width=4, list_length=4, repeats=1, limit_bytes=limit)
    assert [row[:4] for row in rows] == [["random", "level", 2, 1], ["random", "level", 2, 2]]
    assert {len(row) for row in rows} == {len(hugging_face.COLUMNS)}


def test_known_users_repeat_until_they_fill_a_batch():
    known = _models.random_histories(TINY, 2)
    subject = replace(_models.random_model(TINY), known=known)
    assert [subject.histories(3)[user].tolist() for user in range(3)] == [known[user].tolist() for user in (0, 1, 0)]
    [row] = hugging_face.compare(subject, [2], beam_width=4, list_length=4, repeats=1, limit_bytes=1e9)
    assert row[0] == "converged"


def test_a_finished_run_is_measured_on_its_longest_test_users(small_run: Path):
    subject = _models.trained_model(small_run, None)
    assert subject.known is not None
    assert (subject.known.lengths >= subject.sizes.history).all()
    found = subject.search(subject.histories(4), beam_width=5, list_length=4)
    assert _models.count_faults(_models.lists_of(found, 0), subject.sizes.num_items) == 0


@pytest.mark.parametrize(("levels", "whole"), [(2, False), (3, True)])
def test_the_released_way_gives_the_same_lists(levels, whole):
    sizes = replace(TINY, vocabulary="path", num_levels=levels, num_streams=2)
    retriever, known = _models.build_retriever(sizes)
    histories = _models.random_histories(sizes, 3)
    history_BT = torch.from_numpy(histories.last(sizes.history, padding=sizes.num_items)[0])
    widths = _models.Widths(beam_width=5, list_length=4)
    ours = _models.search(retriever, known, histories, **widths)
    theirs = [
        released_eager.Released(retriever, name, trie, whole=whole).predict(history_BT, **widths)
        for name, trie in known.items()
    ]
    assert [items_BN.tolist() for items_BN, _ in theirs] == [_models.lists_of(ours, stream) for stream in (0, 1)]
    assert released_eager.count_different(ours, theirs) == 0
    items_BN, log_probs_BN = theirs[1]
    assert released_eager.count_different(ours, [theirs[0], (items_BN.flip(1), log_probs_BN.flip(1))]) > 0


def test_the_released_way_is_timed():
    sizes = replace(TINY, vocabulary="path", num_streams=2)
    [row] = released_eager.compare(sizes, [2], beam_width=5, list_length=4, repeats=1)
    assert row[0] == 2
    assert all(isinstance(speed, float) and speed > 0 for speed in row[1:6])


def test_a_process_waits_for_the_others_and_says_its_speed():
    work = scaling.Work(TINY, batch=2, beam_width=5, seconds=0.05)
    start, speeds = threading.Barrier(2, timeout=60), queue.Queue()
    process = threading.Thread(target=scaling.search_in_process, args=(work, 1, start, speeds))
    process.start()
    assert speeds.empty()
    start.wait()
    process.join()
    assert speeds.get_nowait() > 0


def test_crews_take_turns_and_are_compared_with_the_first(monkeypatch):
    found = iter([100.0, 150.0, 300.0, 510.0, 200.0, 340.0])
    monkeypatch.setattr(scaling, "total_speed", lambda work, crew: next(found))
    work = scaling.Work(TINY, batch=2, beam_width=5, seconds=0.05)
    rows = scaling.compare(work, [scaling.Crew(1, 1), scaling.Crew(2, 1)], repeats=3)
    assert rows == [[1, 1, 200.0, "1.00x"], [2, 1, 340.0, "1.70x"]]


def test_memory_that_is_shared_counts_once():
    @dataclass
    class Arrays:
        one: np.ndarray
        others: tuple[torch.Tensor, ...]
        name: str = "no array"

    numbers = np.zeros(10, np.int64)
    assert tries.array_bytes(Arrays(numbers, (torch.from_numpy(numbers), torch.zeros(3)))) == 80 + 12


def test_tries_are_measured():
    items, levels, build, _, own, with_tensors, peak = tries.measure_build(replace(TINY, num_levels=3), repeats=1)
    assert (items, levels) == (30, 3)
    assert build > 0
    assert 30 * 3 * 4 / 1e6 <= own <= with_tensors
    assert peak > 0


def test_a_search_is_split_between_decoder_and_trie():
    sizes = replace(TINY, num_levels=3)
    rows = tries.measure_steps(sizes, batch=2, beam_width=5, list_length=4, repeats=2)
    assert [row[:3] for row in rows] == [[30, 3, 1], [30, 3, 2], [30, 3, 3]]
    assert all(row[3] > 0 for row in rows)
    assert 0 < sum(float(str(row[4]).rstrip("%")) for row in rows) < 100


def test_clocks_are_taken_off():
    retriever, _ = _models.build_retriever(TINY)
    [decoder] = retriever.decoders.values()
    with tries.clocked(decoder) as close:
        assert set(close()) == {"decoder"}
        assert "expand" in vars(decoder)
    assert "expand" not in vars(decoder)


def test_curves_are_measured_and_drawn(tmp_path):
    grid = curves.Grid(
        base=TINY,
        items=((20, 2), (30, 3)),
        beam_widths=(2, 4),
        streams=(1, 2),
        levels=(1, 2),
        histories=(2, 4),
        batches=(1, 2),
        trained_streams=(1,),
        trained_layers=(1,),
        batch=2,
        beam_width=4,
        repeats=1,
        training_batch=2,
        training_batches=1,
    )
    found = list(curves.measure_all(grid))
    points = [point for curve in found for point in curve.points]
    assert len(found) == 8
    assert len(points) == 14
    assert all(point.milliseconds > 0 and point.gigaflop_per_second > 0 for point in points)
    curves.draw(found, {"processor": "A & B", "date": "today", curves.PEAK: "100.0"}, tmp_path / "new" / "curves.svg")
    svg = (tmp_path / "new" / "curves.svg").read_text(encoding="utf-8")
    assert all(curve.title in svg for curve in found)
    assert len(curves.as_table(found).rows) == 14


def test_labels_keep_their_distance():
    assert curves._apart([1, 2, 4, 8], is_log=True) == [1, 2, 4, 8]
    assert curves._apart([0, 1, 50, 100], is_log=False) == [0, 50, 100]


def test_results_are_kept_and_the_newest_is_shown(tmp_path):
    table = _results.Table("Speeds", ["side", "users/s", "items"], [["a | b", 0.12345, 12_101]], "A note.")
    old = _results.Result("one", [table], {"date": "2026-01-01 00:00 UTC"})
    new = _results.Result("one", [replace(table, rows=[["b", 1234.5, 7]])], {"date": "2026-01-02 00:00 UTC"})
    old.save(tmp_path / "results" / "b.json")
    new.save(tmp_path / "results" / "a.json")
    [shown] = tables.newest(tmp_path / "results")
    assert shown == new
    assert table.as_markdown().splitlines()[4] == r"| a \| b | 0.123   | 12,101 |"
    page = f"Before.\n\n{tables.BEGIN}\nstale\n{tables.END}\n\nAfter.\n"
    written = tables.with_results(page, [shown])
    assert written.startswith(
        f"Before.\n\n{tables.BEGIN}\n\n### one\n\n`one.py`: date 2026-01-02 00:00 UTC\n\n**Speeds**"
    )
    assert written.endswith(f"| 7     |\n\nA note.\n\n{tables.END}\n\nAfter.\n")
    assert "stale" not in written
    assert tables.with_results(written, [shown]) == written


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="expected one line"):
        tables.with_results("no marks", [])


def test_conditions_say_when_and_where():
    found = _results.read_conditions(transformers="5")
    assert found["threads"] == "1"
    assert found["transformers"] == "5"
    assert found["date"].endswith(" UTC")


def test_every_script_has_its_line_in_the_readme():
    folder = Path(_results.__file__).parent
    readme = (folder / "README.md").read_text(encoding="utf-8")
    scripts = [file.name for file in folder.glob("*.py") if not file.name.startswith("_")]
    assert [name for name in scripts if f"python benchmarks/{name}" not in readme] == []


def test_recommending_is_measured_part_by_part(small_run, capsys):
    recommender.main([str(small_run), "--users", "6", "--batch-size", "4", "--repeats", "1", "--k", "3"])
    printed = capsys.readouterr().out
    for part in ("histories encoded", "searched", "candidates united and scored", "recommend, explain=False"):
        assert f"{part} " in printed
    assert "6 test users, batches of 4, k = 3" in printed
