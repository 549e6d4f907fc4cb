"""Tables of results, for pandas and polars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from genrec.errors import GenrecError

if TYPE_CHECKING:
    import pandas as pd


class Table:
    """A table of results: columns of equal length, missing values as null.

    Args:
        columns: by name: a sequence, or a NumPy array (U,); masked entries of a masked array are null.
    """

    def __init__(self, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
        self._frame = pl.DataFrame([_series(name, values) for name, values in columns.items()])

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._frame.columns

    def __len__(self) -> int:
        return len(self._frame)

    def __getitem__(self, column: str) -> pl.Series:
        """One column.

        Raises:
            KeyError: there is no such column.
        """
        if column not in self._frame.columns:
            raise KeyError(f"{column!r}: no such column, expected one of {', '.join(self._frame.columns)}")
        return self._frame[column]

    def to_polars(self) -> pl.DataFrame:
        """The table as a polars DataFrame."""
        return self._frame

    def to_pandas(self) -> pd.DataFrame:
        """The table as a pandas DataFrame; integer columns with missing values have the type Int64.

        Raises:
            GenrecError: pandas is not installed.
        """
        try:
            import pandas as pd
        except ImportError as error:
            raise GenrecError("pandas is not installed: pip install 'genrec[pandas]', or use to_polars()") from error

        def column(series: pl.Series) -> Any:
            if series.dtype.is_integer() and series.null_count():
                return pd.array(series.to_list(), dtype="Int64")
            return series.to_numpy() if series.dtype.is_numeric() else series.to_list()

        return pd.DataFrame({series.name: column(series) for series in self._frame})

    def to_dicts(self) -> list[dict[str, Any]]:
        """One dictionary for each row."""
        return self._frame.to_dicts()

    def __repr__(self) -> str:
        return repr(self._frame)

    def _repr_html_(self) -> str:
        return self._frame._repr_html_()


def _series(name: str, values: Sequence[Any] | np.ndarray) -> pl.Series:
    if isinstance(values, np.ma.MaskedArray):
        mask_U = np.ma.getmaskarray(values)
        return pl.DataFrame({name: values.data, "missing": mask_U}).select(
            pl.when(pl.col("missing")).then(None).otherwise(pl.col(name)).alias(name)
        )[name]
    return pl.Series(name, values, strict=False)
