"""The model card of a run: a Markdown page with the YAML header that model hubs read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from genrec.evaluation.metrics import column_name
from genrec.experiment.saved_items import SavedItems
from genrec.families import Component
from genrec.model.contracts import StreamContext
from genrec.recipe.schema import Recipe, Stream
from genrec.recipe.source import write
from genrec.reporting.conclusion import run_conclusion
from genrec.reporting.report import Report
from genrec.reporting.report_markdown import results_table, run_protocol_text
from genrec.reporting.texts import count_text, oracle_text, plain, seconds_text, table
from genrec.version import __version__

_LICENSE = "# Replace by the license of this model, which that of its data may restrict, and remove this line."
_TASK = "sequential recommendation"


def model_card(
    report: Report,
    recipe: Recipe,
    streams: Mapping[str, StreamContext],
    items: SavedItems,
    *,
    record: Mapping[str, Any],
    audit: Mapping[str, Any],
) -> str:
    """The model card of a run.

    Args:
        report: results of the run.
        recipe: of the run.
        streams: codes and vectors of its streams.
        items: keys and counts of its items.
        record: content of ``run.json``: version, date, machine, duration.
        audit: content of ``audit.json``; empty if the run has none.
    """
    return "\n".join([*_header(report), *_body(report, recipe, streams, items, record, audit)]).rstrip() + "\n"


def _header(report: Report) -> Iterator[str]:
    protocol, first = report.protocol, report.rows[0]
    dataset = _slug(protocol.dataset)
    results = [
        {"type": f"{metric}_at_{cutoff}", "name": column_name(metric, cutoff), "value": round(estimate.mean, 6)}
        for metric, by_cutoff in first.metrics.items()
        for cutoff, estimate in by_cutoff.items()
    ]
    header = {
        "library_name": "genrec",
        "tags": ["genrec", "recommender-systems", "sequential-recommendation", "generative-retrieval", "semantic-ids"],
        "datasets": [dataset],
        "model-index": [
            {
                "name": report.title,
                "results": [
                    {
                        "task": {"type": _TASK.replace(" ", "-"), "name": _TASK.capitalize()},
                        "dataset": {"type": dataset, "name": protocol.dataset, "split": "test"},
                        "metrics": results,
                    }
                ],
            }
        ],
    }
    yield from ("---", _LICENSE, "license: other", *write(header).rstrip().splitlines(), "---", "")


def _body(
    report: Report,
    recipe: Recipe,
    streams: Mapping[str, StreamContext],
    items: SavedItems,
    record: Mapping[str, Any],
    audit: Mapping[str, Any],
) -> Iterator[str]:
    many = count_text(len(streams), "stream")
    yield from (f"# {report.title}", "", f"**{run_conclusion(report)}**", "")
    yield (
        f"A generative retrieval model with {many} ({', '.join(streams)}) for {_TASK}: from the items of a user's "
        f"history it ranks the next item among all {len(items.keys):,} items of {report.protocol.dataset}."
    )
    yield from ("", "## Use", "", *_use(items, recipe), "")
    yield from ("## Data", "", *_data(report), "")
    yield from ("## Results", "", *results_table(report), "", f"**Protocol.** {run_protocol_text(report)}", "")
    if any(row.kind == "oracle" for row in report.rows):
        yield from (oracle_text(), "")
    yield from ("[report.md](report.md) has the tests, the training curve and the time of each stage.", "")
    yield from ("## Semantic IDs", "", *_semantic_ids(recipe, streams), "")
    yield from ("## Limitations", "", *_limitations(report, streams, items, audit), "")
    yield from ("## Training", "", *_training(report, record), "")


def _use(items: SavedItems, recipe: Recipe) -> Iterator[str]:
    order = range(len(items.keys)) if items.counts_I is None else np.argsort(-items.counts_I, kind="stable").tolist()
    keys = [items.keys[item] for item in order if items.keys[item].isprintable() and "`" not in items.keys[item]][:2]
    yield from (
        "```sh",
        f"pip install -r requirements.txt && pip install --no-deps genrec=={__version__}",
        "```",
        "",
        "```python",
        "import genrec",
        'recommender = genrec.Recommender.load("hf://USER/NAME")  # or the folder of these files',
        f"recommender.recommend({json.dumps(keys, ensure_ascii=False)}, k=10).to_polars()",
        "```",
        "",
        "A history is a list of item keys or titles, oldest first; `items.json` has them. `genrec serve` answers over",
        "HTTP. Loading executes no code from this repository: weights and codes are safetensors, the rest is JSON and",
        "YAML.",
    )
    if plugins := _plugins(recipe):
        yield from ("", f"The model needs plugins, which are not part of it, in `plugins/`: {', '.join(plugins)}.")


def _data(report: Report) -> Iterator[str]:
    yield from (f"- {note.partition(': ')[2]}" for note in report.notes if note.startswith(("data: ", "audit: ")))
    yield "- not included: users, their histories and the targets of the evaluation"


def _semantic_ids(recipe: Recipe, streams: Mapping[str, StreamContext]) -> Iterator[str]:
    rows = []
    for name, context in streams.items():
        stream, ids = recipe.streams[name], context.ids
        has_codes = stream.decoder.writes_codes
        sizes = " x ".join(f"{size:,}" for size in ids.vocabulary_sizes)
        rows.append(
            (
                name,
                _settings(stream.item_encoder),
                _settings(stream.tokenizer) if stream.tokenizer else "none",
                _settings(stream.decoder),
                f"{ids.codes_IL.shape[1]} ({sizes})" if has_codes else "none: it scores items",
                f"{int(ids.present_I.sum()):,}",
            )
        )
    head = ("stream", "item encoder", "tokenizer", "decoder", "levels (codes of each)", "items")
    yield from table(head, rows)
    yield from ("", f"History encoder: {_settings(recipe.history_encoder)}. Merge: {_settings(recipe.merge)}.")


def _limitations(
    report: Report, streams: Mapping[str, StreamContext], items: SavedItems, audit: Mapping[str, Any]
) -> Iterator[str]:
    num_items = len(items.keys)
    if added := max(context.vectors.num_added for context in streams.values()):
        yield f"- Added items: {added:,} of {num_items:,} items were added after training; the results are from before."
    if items.counts_I is not None:
        cold, total = int((items.counts_I == 0).sum()), max(int(items.counts_I.sum()), 1)
        top = np.sort(items.counts_I)[::-1][: -(-num_items // 100)].sum() / total
        yield (
            f"- Cold items: {cold:,} of {num_items:,} items occur in no training history; only streams that encode "
            "texts or images can rank them high. Items that are not in the catalog are never recommended."
        )
        yield (
            f"- Popularity: the most popular 1 % of the items have {top:.1%} of the training interactions, and the "
            "model follows them."
        )
        yield "- A history without a known item gets the most popular items."
    yield from (f"- {note[0].upper()}{note[1:]}." for note in report.notes if note.startswith("stream "))
    for finding in audit.get("findings", ()):
        if finding.get("severity") in ("error", "warning"):
            yield f"- {finding['severity'].capitalize()} of the audit ({finding['check']}): {plain(finding['text'])}."
    yield (
        "- Results are means over users of one dataset and one seed, by leave-one-out: they compare methods and do not "
        "predict what a live system reaches."
    )
    yield "- Counts of items and, in streams that count, of pairs of items are sums over the training users."


def _training(report: Report, record: Mapping[str, Any]) -> Iterator[str]:
    yield from (
        f"- {note.partition(': ')[2]}" for note in report.notes if note.startswith(("training: ", "final fit: "))
    )
    if "device" in record:
        yield f"- machine: {record['device']}, {count_text(int(record.get('threads', 1)), 'thread')}"
    if "seconds" in record:
        yield f"- the run took {seconds_text(float(record['seconds']))}; stages from the cache take no time"
    yield f"- trainable parameters: {sum(report.parameters.values()):,}"
    yield f"- genrec {record.get('genrec', 'of an unknown version')}, {str(record.get('date', 'unknown date'))[:10]}"
    yield (
        f"- seed {report.protocol.seed}; [recipe.yaml](recipe.yaml) has all settings: `genrec run recipe.yaml --data "
        "DIR` repeats the run"
    )


def _settings(component: Component) -> str:
    """A component and its settings: ``kmeans_tree (branching 32, balanced true)``."""
    settings = {name: value for name, value in component.block().items() if name != "type" and _is_short(value)}
    text = ", ".join(f"{name} {json.dumps(value, ensure_ascii=False)}" for name, value in settings.items())
    return f"{component.type_name} ({text})" if text else component.type_name


def _is_short(value: Any) -> bool:
    return value not in (None, [], {}, "") and len(json.dumps(value, ensure_ascii=False)) <= 60


def _plugins(recipe: Recipe) -> list[str]:
    """The components of a recipe that recommending needs and that are not in the core."""
    streams: Sequence[Stream] = tuple(recipe.streams.values())
    used: list[Component | None] = [recipe.history_encoder, recipe.merge, *recipe.tasks, *recipe.baselines]
    used += [recipe.dataset]
    for stream in streams:
        used += [stream.item_encoder, stream.tokenizer, stream.decoder, stream.history_encoder]
    found = [part.type_name for part in used if part is not None and not type(part).__module__.startswith("genrec.")]
    return list(dict.fromkeys(found))


def _slug(name: str) -> str:
    """A name as hubs take it: letters, digits, hyphens, dots and underscores."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "dataset"
