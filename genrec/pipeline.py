"""The pipeline: load -> encode -> tokenize -> train -> search -> merge -> evaluate -> report.

Each call returns the input of the next one; finished stages are loaded from the cache.
"""

from __future__ import annotations

from datetime import datetime

from genrec.dataset_audit.audit import audit
from genrec.experiment.baselines import rank_baselines
from genrec.experiment.cache import Cache
from genrec.experiment.candidates import search_users
from genrec.experiment.dataset import load_dataset
from genrec.experiment.fit import Fits, plan_final_fit, plan_fit
from genrec.experiment.ids import tokenize_items
from genrec.experiment.item_facts import item_facts
from genrec.experiment.model import train_model
from genrec.experiment.rankings import fit_merges, merge_streams, needs_fitting
from genrec.experiment.run_folder import RunFolder
from genrec.experiment.saved_items import SavedItems
from genrec.experiment.vectors import encode_items
from genrec.growth.cold_items import evaluate_cold_items
from genrec.recipe.schema import Recipe
from genrec.reporting.report import Report, beyond_tests, evaluate, paired_tests
from genrec.reporting.report_files import write_report
from genrec.reporting.run_details import describe_run
from genrec.reporting.run_page import run_page
from genrec.reporting.run_report import machine_of, make_report
from genrec.runtime.environment import THIS_MACHINE, Environment
from genrec.runtime.threads import computed_on, threads
from genrec.version import __version__


def run(recipe: Recipe, folder: RunFolder, *, environment: Environment = THIS_MACHINE) -> Report:
    """Run a recipe: load its data, run all stages and write its report.

    Args:
        recipe: a checked recipe.
        folder: output folder; an interrupted run resumes from its finished stages.
        environment: device, threads and data folder.

    Raises:
        GenrecError: files, weights or components are missing or not valid.
    """
    with threads(environment.threads), folder:
        cache = Cache(folder.cache, place=folder.place, machine=computed_on(environment.torch_device))
        scores, top_n = recipe.merge.needs_scores, max(recipe.evaluation.cutoffs)

        with cache.timer.measure("dataset"):
            dataset = load_dataset(recipe, environment)
        folder.write_items(SavedItems.of(dataset.catalog, dataset.train))
        folder.write_users(dataset)
        audited = audit(dataset)
        folder.write_json("audit.json", audited.to_dict())

        fit = plan_fit(recipe, dataset, environment)
        vectors = encode_items(fit, cache)
        streams = tokenize_items(fit, vectors, cache)
        trained = train_model(fit, streams, cache, log_folder=folder.path / fit.artifact("logs"))
        folder.write_json(fit.artifact("training.json"), trained.log.as_json())
        validated = None
        if needs_fitting(recipe.merge):  # on validation users, with the model fitted on train only
            validated = search_users(fit, trained.model, streams, "valid", cache, scores=scores)
        merges = fit_merges(recipe.merge, streams, validated, dataset.valid.targets)
        folder.write_json("merge.json", merges[tuple(streams)].block())

        fits, selected = Fits(fit, fit), trained
        if recipe.training.final_fit:  # again on train + validation, for the best number of epochs
            final = plan_final_fit(fit)
            vectors = encode_items(final, cache)
            streams = tokenize_items(final, vectors, cache)
            trained = train_model(
                final, streams, cache, epochs=selected.log.best_epoch, log_folder=folder.path / final.artifact("logs")
            )
            folder.write_json(final.artifact("training.json"), trained.log.as_json())
            fits = Fits(fit, final)

        found = search_users(fits.test, trained.model, streams, "test", cache, scores=scores)
        with cache.timer.measure("merge"):
            rankings = merge_streams(merges, found, top_n=top_n)
        baselines = rank_baselines(fits, "test", cache, top_n=top_n)
        with cache.timer.measure("evaluation"):
            facts = item_facts(recipe, fits.test.dataset, vectors)
            rows = evaluate({**rankings, **baselines}, dataset.test, recipe.evaluation, recipe.seed, facts)
            tests = paired_tests(rows, recipe.evaluation, recipe.seed)
            beyond = beyond_tests(rows, recipe.evaluation)

        cold = evaluate_cold_items(fits.test, vectors, streams, trained.model, merges, cache)
        report = make_report(fits, selected, trained, vectors, streams, rows, tests, beyond, audited, cold, cache)
        write_report(report, folder.path, draft=folder.draft)
        details = describe_run(fits.test.dataset, recipe, streams, found, rankings, report)
        folder.write_text("report.html", run_page(report, details, folder.path))
        folder.finish(
            {
                **{split_fit.artifact("model"): split_fit.keys.model for split_fit in (fits.test, fits.valid)},
                "genrec": __version__,
                "date": datetime.now().isoformat(timespec="seconds"),
                **machine_of(trained.model),
                "folders": environment.folders(),
                "stages": cache.log,
                "seconds": round(sum(cache.timer.seconds.values()), 1),
            }
        )
        return report
