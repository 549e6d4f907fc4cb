"""Every file of a run and of the cache, damaged in four ways, is reported or rebuilt: never another result."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genrec.cli import main
from genrec.comparison.axes import variants
from genrec.comparison.plan import make_plan
from genrec.errors import DataError, GenrecError
from genrec.evaluation.rank_file import RankFile
from genrec.experiment.cache import Cache
from genrec.experiment.finished_run import load_fit
from genrec.experiment.run_folder import RunFolder
from genrec.recipe import load_recipe
from genrec.reporting.report import read_metrics
from genrec.search.candidates import load_candidates
from genrec.serving.recommender import Recommender
from tests.damaged_files import DAMAGES
from tests.faults.tiny_shop import recipe_file, results, run_in

READ_BY_COMMANDS = {
    "run.json": "recommend",
    "recipe.yaml": "recommend",
    "items.json": "recommend",
    "merge.json": "recommend",
    "model.safetensors": "recommend",
    "streams/behavior/ids.safetensors": "recommend",
    "streams/text/vectors.safetensors": "recommend",
    "metrics.json": "plan",
    "ranks.safetensors": "plan",
    "training.json": "plan",
    "train_only/model.safetensors": "plan",
    "train_only/streams/text/ids.safetensors": "plan",
    "train_only/training.json": "plan",
    "candidates/test.safetensors": "candidates",
    "train_only/candidates/valid.safetensors": "candidates",
}
"""Files that commands read, each with one of the readers below that does."""

KINDS = ("vectors", "ids", "model", "log", "candidates", "baseline", "made-model", "made-candidates")


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Finished runs of two seeds."""
    folder = tmp_path_factory.mktemp("runs")
    recipe = recipe_file(folder)
    return run_in(folder / "first", recipe), run_in(folder / "second", recipe, seed=2)


def readers(run: Path) -> dict[str, Callable[[], Any]]:
    """What reads a finished run, by name; each returns its result as text."""

    def plan() -> Any:
        planned = make_plan(variants([run]), (), Cache(run / "stages"), split="test")
        fits = planned.trials[0].fits
        logs = [load_fit(RunFolder.open(run), fit)[1].log for fit in (fits.valid, fits.test)]
        return [fits.test.keys.model, fits.valid.selected_under, [log.best_epoch for log in logs]]

    return {
        "recommend": lambda: Recommender(run).recommend([["item-1", "item-2"]], k=5),
        "plan": plan,
        "ranks": lambda: {name: ranks_U.tolist() for name, ranks_U in RankFile.read(run).ranks.items()},
        "metrics": lambda: read_metrics(run)["methods"],
        "recipe": lambda: load_recipe(run / "recipe.yaml"),
        "candidates": lambda: [
            load_candidates(run / name).items_BC.tolist()
            for name in ("candidates/test.safetensors", "train_only/candidates/valid.safetensors")
        ],
    }


def outcomes(run: Path) -> dict[str, str]:
    """The result of each reader, or its error."""
    found = {}
    for name, read in readers(run).items():
        try:
            found[name] = repr(read())
        except GenrecError as error:
            found[name] = f"error: {error}"
    return found


@pytest.mark.slow
@pytest.mark.parametrize("how", sorted(DAMAGES))
def test_a_damaged_file_of_a_run_is_reported(two_runs: tuple[Path, Path], tmp_path: Path, how: str) -> None:
    first, second = two_runs
    run = shutil.copytree(first, tmp_path / "run", ignore=shutil.ignore_patterns(".stages"))
    expected = outcomes(run)
    assert not any(outcome.startswith("error") for outcome in expected.values())
    names = set(RunFolder.open(run).read_json("run.json")["files"]) | {"run.json"}
    assert names >= READ_BY_COMMANDS.keys()
    for name in sorted(READ_BY_COMMANDS):
        intact = (run / name).read_bytes()
        DAMAGES[how](run / name, second / name)
        if (run / name).read_bytes() != intact:
            found = outcomes(run)
            changed = {reader for reader in expected if found[reader] != expected[reader]}
            assert all(found[reader].startswith(f"error: {run}/") for reader in changed), (name, found)
            reader = READ_BY_COMMANDS[name]
            wanted = "" if (name, how) == ("run.json", "swap") else name
            assert found[reader].startswith(f"error: {run / wanted}"), (name, found[reader])
            assert "\n" not in found[reader]
        (run / name).write_bytes(intact)
    for name in sorted(names - READ_BY_COMMANDS.keys()):
        intact = (run / name).read_bytes()
        DAMAGES[how](run / name, second / name)
        if (run / name).read_bytes() != intact:
            with pytest.raises(DataError, match="its checksum is not the one in"):
                RunFolder.open(run).file(name)
        (run / name).write_bytes(intact)


@pytest.mark.slow
def test_a_command_reports_a_damaged_run_in_one_line(
    two_runs: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(two_runs[0], tmp_path / "run")
    with (run / "model.safetensors").open("r+b") as file:
        file.truncate(500)
    capsys.readouterr()
    for words in (["recommend", str(run), "--history", "item-1"], ["bench", str(run)]):
        assert main(words) == 2
        assert capsys.readouterr() == (
            "",
            f"{run / 'model.safetensors'}: its checksum is not the one in {run / 'run.json'}; repair: genrec run "
            f"{run / 'recipe.yaml'} --output {run}\n",
        )
    assert main(["run", str(run / "recipe.yaml"), "--output", str(run), "--device", "cpu"]) == 0
    assert main(["recommend", str(run), "--history", "item-1"]) == 0
    assert results(run)["model.safetensors"] == results(two_runs[0])["model.safetensors"]


def damage_stages(two_runs: tuple[Path, Path], tmp_path: Path, how: str, kind: str, *, each: bool) -> None:
    first, second = two_runs
    folder, recipe = shutil.copytree(first, tmp_path / "run"), recipe_file(tmp_path)
    stages = sorted((folder / ".stages").glob(f"{kind}-*"))
    others = sorted((second / ".stages").glob(f"{kind}-*"))
    assert stages
    for number in range(len(stages) if each else 1):
        stage, other = stages[number], others[number - 1]
        intact = stage.read_bytes()
        DAMAGES[how](stage, other)
        if stage.read_bytes() != intact:
            run_in(folder, recipe)
            assert results(folder) == results(first), stage
            assert any(not entry["reused"] for entry in RunFolder.open(folder).read_json("run.json")["stages"]), stage


@pytest.mark.slow
@pytest.mark.parametrize("how", sorted(DAMAGES))
@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_stage_is_rebuilt(two_runs: tuple[Path, Path], tmp_path: Path, how: str, kind: str) -> None:
    damage_stages(two_runs, tmp_path, how, kind, each=False)


@pytest.mark.acceptance
@pytest.mark.parametrize("how", sorted(DAMAGES))
@pytest.mark.parametrize("kind", ["vectors", "ids", "model", "log", "candidates", "baseline", "made"])
def test_every_damaged_stage_is_rebuilt(two_runs: tuple[Path, Path], tmp_path: Path, how: str, kind: str) -> None:
    damage_stages(two_runs, tmp_path, how, kind, each=True)


@pytest.mark.slow
def test_what_happens_to_a_run_happens_to_no_stage(two_runs: tuple[Path, Path], tmp_path: Path) -> None:
    """The files of runs are copies, no links."""
    folder, recipe = shutil.copytree(two_runs[0], tmp_path / "run"), recipe_file(tmp_path)
    run_in(folder, recipe)
    for name in ("model.safetensors", "candidates/test.safetensors", "streams/text/ids.safetensors"):
        assert (folder / name).stat().st_nlink == 1
        with (folder / name).open("r+b") as file:
            file.truncate(100)
    run_in(folder, recipe)
    assert results(folder) == results(two_runs[0])
    assert all(entry["reused"] for entry in RunFolder.open(folder).read_json("run.json")["stages"])
