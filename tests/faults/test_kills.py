"""A run that is killed at any moment, also while it writes, ends as an undisturbed one and leaves nothing."""

import shutil
from pathlib import Path

import pytest

from genrec.experiment.run_folder import RunFolder
from genrec.runtime.checksums import read_mark, verify
from tests.faults.tiny_shop import files, recipe_file, results, run_in, run_killed

TENTHS, FIFTIETHS = range(10), range(50)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """The folder of an undisturbed run, and the number of its moments."""
    folder = tmp_path_factory.mktemp("undisturbed")
    count = run_killed(folder / "run", recipe_file(folder), moment=0)
    assert count is not None
    assert count > 150
    return folder / "run", count


@pytest.fixture(scope="module")
def moments_of_second(undisturbed: tuple[Path, int], tmp_path_factory: pytest.TempPathFactory) -> int:
    """The number of moments of a second run in the folder of the first, which has some of its stages."""
    folder = tmp_path_factory.mktemp("second")
    count = run_killed(shutil.copytree(undisturbed[0], folder / "run"), recipe_file(folder), moment=0, seed=2)
    assert count is not None
    assert count > 150
    return count


def kill_and_resume(undisturbed: tuple[Path, int], tmp_path: Path, share: float) -> None:
    expected, count = undisturbed
    recipe, folder = recipe_file(tmp_path), tmp_path / "run"
    assert run_killed(folder, recipe, moment=1 + int(share * count)) is None
    run_in(folder, recipe)
    assert results(folder) == results(expected)
    assert files(folder) == files(expected)
    assert all(verify(folder / name).is_file() for name in read_mark(folder)["files"])


def kill_a_second_run(first: Path, count: int, tmp_path: Path, share: float) -> None:
    recipe, folder = recipe_file(tmp_path), shutil.copytree(first, tmp_path / "run")
    before = results(folder)
    killed = run_killed(folder, recipe, moment=1 + int(share * count), seed=2) is None
    opened = RunFolder.open(folder)
    assert all(opened.file(name).is_file() for name in read_mark(folder)["files"])
    is_first = results(folder) == before
    assert is_first or "seed: 2\n" in (folder / "recipe.yaml").read_text(encoding="utf-8")
    assert is_first or not killed or share > 0.8
    run_in(folder, recipe, seed=2)
    after = results(folder)
    assert after["metrics"] != before["metrics"]
    shutil.rmtree(folder)
    assert results(run_in(folder, recipe, seed=2)) == after


@pytest.mark.slow
@pytest.mark.parametrize("tenth", TENTHS)
def test_a_killed_run_ends_as_an_undisturbed_one(undisturbed: tuple[Path, int], tmp_path: Path, tenth: int) -> None:
    kill_and_resume(undisturbed, tmp_path, (tenth + 0.5) / len(TENTHS))


@pytest.mark.acceptance
@pytest.mark.parametrize("fiftieth", FIFTIETHS)
def test_a_run_killed_at_fifty_moments(undisturbed: tuple[Path, int], tmp_path: Path, fiftieth: int) -> None:
    kill_and_resume(undisturbed, tmp_path, (fiftieth + 0.5) / len(FIFTIETHS))


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_killed_second_run_leaves_the_first_or_the_second(
    undisturbed: tuple[Path, int], moments_of_second: int, tmp_path: Path, share: float
) -> None:
    kill_a_second_run(undisturbed[0], moments_of_second, tmp_path, share)


@pytest.mark.acceptance
@pytest.mark.parametrize("fiftieth", FIFTIETHS)
def test_a_second_run_killed_at_fifty_moments(
    undisturbed: tuple[Path, int], moments_of_second: int, tmp_path: Path, fiftieth: int
) -> None:
    kill_a_second_run(undisturbed[0], moments_of_second, tmp_path, (fiftieth + 0.5) / len(FIFTIETHS))
