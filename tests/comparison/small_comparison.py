"""A recipe over a small showroom whose models train in a second or two, for comparisons that really work."""

from genrec.comparison.axes import variants
from genrec.comparison.plan import make_plan
from genrec.experiment.cache import Cache
from genrec.runtime.environment import Environment

RECIPE = """
title: Small
dataset: {type: showroom, items: 60, users: 150}
history_encoder: {type: item_ids, num_layers: 1, dim: 16, num_heads: 2, max_history: 8, attention: causal}
streams:
  behavior: {item_encoder: {type: cooccurrence, dim: 8}, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
  text:     {item_encoder: {type: tfidf, dim: 8}, tokenizer: {type: kmeans_tree, branching: 8}, decoder: mlp}
training: {learning_rate: 3e-3, warmup_steps: 1, batch_size: 64, max_epochs: 1, validation_users: 50}
search: {method: exact, list_length: 20}
merge: confidence
evaluation: {cutoffs: [5, 10], bootstrap_samples: 100}
"""


def small_recipe(folder):
    file = folder / "small.yaml"
    file.write_text(RECIPE)
    return file


def small_plan(folder, vary=(), seeds=(), *, split="valid", overrides=()):
    compared = variants([small_recipe(folder)], vary, overrides=overrides)
    return make_plan(compared, seeds, Cache(folder / ".stages"), split=split, environment=Environment())
