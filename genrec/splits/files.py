"""The split of the files: a dataset whose source has files for training, validation and test."""

from __future__ import annotations

from genrec.errors import DataError
from genrec.families import SplitRule, splits
from genrec.splits._parts import cold_targets, evaluated, is_in_training, require_users, training
from genrec.types import Dataset, Splits


@splits.register("files")
class Files(SplitRule):
    """Train, validate and test on the files of the dataset: ``parts`` of ``table``, ``benchmark_files`` of ``recbole``.

    Every item that a user has in the validation file is a target after the user's items in the training file, every
    item in the test file one after those in both. Nothing is left out but users without a history, who are counted.
    """

    def split(self, dataset: Dataset) -> Splits:
        """Divide by the files; see :meth:`SplitRule.split`."""
        if dataset.parts is None:
            raise DataError(
                f"{dataset.name}: evaluation.split files needs files for training, validation and test, and this "
                "dataset has none; expected dataset table with parts: {train: FILE, valid: FILE, test: FILE}, or "
                "recbole with benchmark_files: [train, valid, test]"
            )
        histories, parts = dataset.histories, dataset.parts
        is_trained_N, is_valid_N, is_test_N = (parts == number for number in range(3))
        valid, valid_new = evaluated(histories, is_trained_N, is_valid_N, "all")
        test, test_new = evaluated(histories, ~is_test_N, is_test_N, "all")
        advice = "check that the files have the same user keys"
        require_users(dataset, self.type_name, advice=advice, validation=valid, test=test)
        is_trained_I = is_in_training(dataset, is_trained_N)
        return Splits(
            train=training(histories, is_trained_N),
            train_and_valid=training(histories, ~is_test_N),
            valid=valid,
            test=test,
            text="split of the files",
            valid_target="every item in the validation file",
            test_target="every item in the test file",
            notes=(
                f"split: {int(is_trained_N.sum()):,} interactions are trained on, {int(is_valid_N.sum()):,} held out "
                f"for validation and {int(is_test_N.sum()):,} for the test",
                f"split: {cold_targets('validation', valid, is_trained_I)} and "
                f"{cold_targets('test', test, is_trained_I)}",
                f"split: {valid_new:,} validation and {test_new:,} test users have no history before their targets and "
                "are left out",
            ),
        )
