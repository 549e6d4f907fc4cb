"""What tests of trained baselines share: a world of groups, and how well a fitted baseline ranks."""

import numpy as np

from genrec.evaluation.metrics import mean_ndcg, recall, target_ranks
from genrec.types import Catalog, Dataset, Histories


def groups(num_groups=4, size=10, num_users=120, length=8):
    """Users who buy items of one group in random order; all items are about equally popular."""
    generator = np.random.default_rng(0)
    histories = [generator.permutation(size)[:length] + size * (user % num_groups) for user in range(num_users)]
    names = tuple(f"item {item}" for item in range(num_groups * size))
    catalog = Catalog(names, names, names, ((),) * len(names))
    users = tuple(f"user {user}" for user in range(num_users))
    return Dataset("groups", catalog, users, Histories.of(histories), "groups")


def validation_of(data, *, exclude_seen=False):
    """NDCG@10 on the validation users, as a run measures it."""
    valid = data.valid
    return lambda fitted: mean_ndcg(fitted.rank(valid.histories, top_n=10, exclude_seen=exclude_seen), valid.targets)


def hits(fitted, data, count, *, exclude_seen=False):
    """The share of test targets among the first items."""
    ranking = fitted.rank(data.test.histories, top_n=count, exclude_seen=exclude_seen)
    return recall(target_ranks(ranking, data.test.targets), count).mean()
