"""The baselines beside an experiment's model: fitted on what it was fitted on, stored, and asked the same users."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from genrec.evaluation.metrics import mean_ndcg
from genrec.experiment import Experiment, SplitName
from genrec.families import Baseline, FittedBaseline
from genrec.runtime.environment import WorkContext
from genrec.seeds import derive
from genrec.sources import source_hash
from genrec.stages import address, component_identity
from genrec.training.checkpoint import save_json
from genrec.types import Ranking, Split


@dataclass(frozen=True)
class Yardstick:
    """One baseline of an experiment's recipe.

    Its ranking is a stage. The folder of its fit stays beside the stages, so that the users of the other split are
    ranked without another training.
    """

    baseline: Baseline
    experiment: Experiment
    """Either of the two where there is a final fit: a split decides which of them is meant."""

    @property
    def is_trained(self) -> bool:
        """Whether it validates, so that it may take as long as a model."""
        return type(self.baseline).fit_validated is not Baseline.fit_validated

    def rank(self, split: SplitName, *, top_n: int) -> Ranking:
        """What it recommends to the users of a split.

        Raises:
            GenrecError: whatever the baseline raises.
        """
        stages, name = self.experiment.stages, self.baseline.type_name
        work = partial(self._ranked, split, top_n)
        key = self.ranking_key(split, top_n=top_n)
        return stages.get("baseline", key, name=name, work=work, save=_save, load=_load, like=self.like(split))[0]

    def ranking_key(self, split: SplitName, *, top_n: int) -> str:
        """What its ranking is made of."""
        return address(fitted=self.of(split).key, seen=self._seen, split=split, top_n=top_n)

    def like(self, split: SplitName) -> tuple[str, ...]:
        """What its time depends on, in words."""
        final = ("final fit",) if self.of(split).experiment.dataset.trains_on_validation else ()
        return (self.experiment.dataset.name, self.baseline.type_name, *final)

    def note(self, split: SplitName) -> str:
        """What validation decided, in words; empty where it had nothing to decide."""
        chosen = self.of(split).folder / "chosen.json"
        if not chosen.is_file():
            return ""
        block = json.loads(chosen.read_text(encoding="utf-8"))
        told = ", ".join(f"{name} {value}" for name, value in block.items() if name != "type")
        return f"baseline {self.baseline.type_name}: {told}; learning stopped where validation was best"

    @cached_property
    def key(self) -> str:
        """What its fit is made of."""
        recipe, dataset, environment = self.experiment.recipe, self.experiment.dataset, self.experiment.environment
        return address(
            component=component_identity(self.baseline, environment),
            data=(component_identity(recipe.dataset, environment), dataset.fingerprint),
            seed=recipe.seed if self.baseline.is_random else None,
            validation=self.experiment.validated_under if self.is_trained else None,
            source=source_hash(Path(inspect.getfile(mean_ndcg))) if self.is_trained else None,
        )

    @property
    def folder(self) -> Path:
        """Where its fit keeps what is finished."""
        return self.experiment.stages.path("fitted", self.key)

    def fitted(self) -> FittedBaseline:
        """Fitted on the experiment's training histories, anew or from what its folder holds.

        A final fit has no validation: it follows what was chosen by the one on train alone.
        """
        experiment, baseline = self.experiment, self.baseline
        if self.is_trained and experiment.chosen is not None:
            baseline = Yardstick(baseline, experiment.chosen).fitted().chosen or baseline
        with experiment.stages.alone("fitted", self.key):
            fitted = baseline.fit_validated(
                experiment.dataset.catalog,
                experiment.dataset.train,
                context=WorkContext(
                    derive(experiment.recipe.seed, "baseline", baseline.type_name), experiment.environment, self.folder
                ),
                validate=None if experiment.chosen else self._validate,
            )
            if fitted.chosen is not None and self.folder.is_dir():
                save_json(fitted.chosen.block(), self.folder / "chosen.json")
        return fitted

    def of(self, split: SplitName) -> Yardstick:
        """The same beside the model that a split's users are asked of."""
        return Yardstick(self.baseline, self.experiment.asked_of(split))

    def _ranked(self, split: SplitName, top_n: int) -> Ranking:
        users: Split = getattr(self.experiment.asked_of(split).dataset, split)
        return self.of(split).fitted().rank(users.histories, top_n=top_n, exclude_seen=self._seen == "filter")

    @property
    def _seen(self) -> str:
        return self.experiment.recipe.evaluation.seen_items

    def _validate(self, fitted: FittedBaseline) -> float:
        """NDCG@10 on all validation users: a yardstick must not hang on luck, and ranks them in no time."""
        users = self.experiment.dataset.valid
        ranking = fitted.rank(users.histories, top_n=10, exclude_seen=self.experiment.validated_under == "filter")
        return mean_ndcg(ranking, users.targets)


def _save(ranking: Ranking, path: Path) -> None:
    tensors = {"items_BN": ranking.items_BN, "scores_BN": ranking.scores_BN}
    save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)


def _load(path: Path) -> Ranking:
    return Ranking(**load_file(path))
