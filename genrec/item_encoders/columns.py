"""Typed columns of the catalog (price, year, brand, category) as vectors: standardized, one-hot, reduced by PCA."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field, PositiveInt

from genrec.errors import DataError
from genrec.families import ItemEncoder, KnownItems, item_encoders
from genrec.item_encoders._new_items import demand_equal, with_more
from genrec.item_encoders._rows import column_signs, place
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Count, Width
from genrec.types import Catalog, Column, Histories, ItemVectors

if TYPE_CHECKING:
    from scipy.sparse import csr_array

_NO_VARIANCE = 1e-9
"""Directions whose variance is below this share of the largest are rounding errors."""


@item_encoders.register("columns")
class Columns(ItemEncoder):
    """Item metadata (price, year, brand, ...): standardized numbers and one-hot categories, reduced by PCA.

    Every column has the same total variance, whatever its type. An item without a value gets the column's mean and a
    missing-value indicator; an item without a value in any column is absent.
    """

    reads_histories = False

    columns: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Columns to read; null reads all columns of the dataset."""
    log: tuple[str, ...] = ()
    """Numeric columns, such as price, that are read on a logarithmic scale: sign(x) log(1 + abs(x))."""
    max_values: Count = 128
    """Values of a categorical column with a feature, the most frequent ones."""
    min_items: PositiveInt = 2
    """Values of fewer items are ignored."""
    dim: Width = 128
    """Width of the vectors; smaller where the columns do not span that many directions."""

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Check that the columns exist."""
        self._chosen(catalog)

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        return self._encode(self._chosen(catalog), len(catalog))

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors:
        """Encode the columns of known and new items, by statistics of the known ones."""
        catalog = known.read_catalog()
        columns = {
            name: with_more(column, new.columns.get(name), len(new)) for name, column in self._chosen(catalog).items()
        }
        vectors, num_known = self._encode(columns, len(catalog)), len(catalog)
        demand_equal(known.vectors, vectors.vectors_IE[:num_known], catalog.keys, self.type_name)
        return ItemVectors(vectors.vectors_IE[num_known:], vectors.present_I[num_known:])

    def _encode(self, chosen: Mapping[str, Column], num_fitted: int) -> ItemVectors:
        """Vectors of all items of some columns, by statistics of the first ``num_fitted``."""
        from scipy.sparse import csr_array, hstack

        has_value_I = np.any([column.present_I for column in chosen.values()], axis=0)
        blocks = [self._features(name, column, num_fitted) for name, column in chosen.items()]
        present_I = np.any([is_known_I for _, is_known_I in blocks], axis=0)
        count = int(present_I[:num_fitted].sum())
        if not count:
            raise DataError(f"columns: no value of {', '.join(chosen)} is shared by {self.min_items} items or more")
        features_NF = csr_array(hstack([_with_unit_variance(block_IF[present_I], count) for block_IF, _ in blocks]))
        vectors_NE = _principal_components(features_NF, self.dim, count)
        if not vectors_NE.shape[1]:
            raise DataError(f"columns: all items have the same {' and '.join(chosen)}; choose other columns")
        rare = int((has_value_I & ~present_I).sum())
        notes = (f"{rare} items have no value that is frequent enough to be read",) if rare else ()
        return place(vectors_NE, present_I, notes)

    def _chosen(self, catalog: Catalog) -> dict[str, Column]:
        """The columns to read, or an error that lists the available ones."""
        found = catalog.columns
        if not found:
            raise DataError(
                "columns: this dataset has no item columns; choose an item encoder that reads something else"
            )
        names = tuple(found) if self.columns is None else tuple(dict.fromkeys(self.columns))
        there_are = ", ".join(f"{name} ({column.kind})" for name, column in found.items())
        if missing := [name for name in names if name not in found]:
            raise DataError(f"columns: no column {', '.join(missing)} in this dataset; expected {there_are}")
        if wrong := [name for name in self.log if name not in names or found[name].kind != "numeric"]:
            raise DataError(
                f"columns: log names {', '.join(wrong)}, expected numeric columns that are read; there are {there_are}"
            )
        return {name: found[name] for name in names}

    def _features(self, name: str, column: Column, num_fitted: int) -> tuple[csr_array, np.ndarray]:
        """Features of a column, float64 (I, F), the last one 1 where the value is missing; and whether it is known."""
        from scipy.sparse import csr_array, hstack

        if column.kind == "categorical":
            values_IF = _one_hot(column, self.max_values, self.min_items, num_fitted)
            is_known_I = np.diff(values_IF.indptr) > 0
        else:
            is_known_I = column.present_I
            values_IF = csr_array(_standardized(column, num_fitted, use_log=name in self.log)[:, None])
        unknown_I1 = csr_array((~is_known_I).astype(np.float64)[:, None])
        return csr_array(hstack([values_IF, unknown_I1])), is_known_I


def _standardized(column: Column, num_fitted: int, *, use_log: bool) -> np.ndarray:
    """Numbers with mean 0 and variance 1, or 0 where all are equal; 0 where missing, float64 (I,)."""
    is_known_I = column.present_I
    known_N = column.values_I[is_known_I].astype(np.float64)
    if use_log:
        known_N = np.sign(known_N) * np.log1p(np.abs(known_N))
    fitted_N = known_N[: int(is_known_I[:num_fitted].sum())]
    spread = fitted_N.std() if len(fitted_N) else 0.0
    values_I = np.zeros(len(column))
    values_I[is_known_I] = (known_N - fitted_N.mean()) / spread if spread > 0 else 0.0
    return values_I


def _one_hot(column: Column, max_values: int, min_items: int, num_fitted: int) -> csr_array:
    """A feature for each frequent value; an item's are 1 / sqrt(their number), so that all items weigh the same."""
    from scipy.sparse import csr_array

    counts = Counter(value for of_item in column.values_I[:num_fitted] for value in of_item)
    feature_of = {
        value: feature for feature, (value, count) in enumerate(counts.most_common(max_values)) if count >= min_items
    }
    of_items = [[feature_of[value] for value in of_item if value in feature_of] for of_item in column.values_I]
    sizes_I = np.array([len(features) for features in of_items], dtype=np.int64)
    indices = np.array([feature for features in of_items for feature in features], dtype=np.int64)
    entries = np.repeat(1 / np.sqrt(np.maximum(sizes_I, 1)), sizes_I)
    offsets = np.concatenate([[0], np.cumsum(sizes_I)])
    return csr_array((entries, indices, offsets), shape=(len(column), len(feature_of)))


def _with_unit_variance(features_NF: csr_array, num_fitted: int) -> csr_array:
    """The features of a column scaled together, so that their variances sum to 1 (or stay 0)."""
    fitted_NF = features_NF[:num_fitted]
    mean_F = np.asarray(fitted_NF.mean(axis=0)).ravel()
    variance = float(np.square(fitted_NF.data).sum()) / num_fitted - float(mean_F @ mean_F)
    return features_NF / np.sqrt(variance) if variance > _NO_VARIANCE else features_NF


def _principal_components(features_NF: csr_array, dim: int, num_fitted: int) -> np.ndarray:
    """Scores of the ``dim`` directions of largest variance that have any, largest first, float64 (N, at most dim)."""
    fitted_NF = features_NF[:num_fitted]
    mean_F = np.asarray(fitted_NF.mean(axis=0)).ravel()
    # The features are sparse and few: their covariance is cheap, while centered rows would fill the memory.
    covariance_FF = (fitted_NF.T @ fitted_NF).toarray() / num_fitted - np.outer(mean_F, mean_F)
    variance_F, directions_FF = np.linalg.eigh(covariance_FF)
    largest = np.argsort(-variance_F, kind="stable")[:dim]
    largest = largest[variance_F[largest] > _NO_VARIANCE * max(float(variance_F[-1]), _NO_VARIANCE)]
    directions_FE = directions_FF[:, largest]
    scores_NE = features_NF @ directions_FE - mean_F @ directions_FE
    return scores_NE * column_signs(scores_NE[:num_fitted])
