"""RecBole's atomic files: ``<name>.inter``, a line an interaction, and ``<name>.item``, a line an item."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, NonNegativeInt, model_validator

from genrec.datasets._columns import is_of_behavior, refuse_behavior
from genrec.datasets.readers.csv import Layout, require_columns
from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import RelativePath, find
from genrec.datasets.readers.interaction_parts import check_core, read_parts
from genrec.datasets.readers.interaction_tables import InteractionColumns, check_time_settings, read_interactions
from genrec.datasets.readers.interactions import Duplicates, Order, order_histories
from genrec.datasets.readers.item_tables import ItemColumns, Items, catalog_of, read_items
from genrec.datasets.readers.tables import TableFile
from genrec.datasets.readers.timestamps import TimeFormat, TimeUnit
from genrec.errors import DataError
from genrec.families import DatasetSource, datasets
from genrec.types import ColumnKind, Dataset

_LAYOUT = Layout("\t", quoted=False)
_TITLES = ("title", "movie_title", "item_name", "product_title", "name")
_LISTS = ("class", "genre", "genres", "category", "categories", "tags", "brand")
_IMAGES = ("image", "picture", "images", "pictures", "image_path")  # foreign names
_TEXT_TYPES = ("token", "token_seq")


def _without_leaks(fields: tuple[str, ...] | None) -> tuple[str, ...] | None:
    refuse_behavior(fields or ())
    return fields


@datasets.register("recbole")
class RecBole(DatasetSource):
    """A dataset in RecBole's atomic files, as RecSysDatasets publishes many.

    A header ``user_id:token item_id:token rating:float timestamp:float``, tabs between the fields, no quotes. Times are
    Unix times in any unit, ISO 8601, or counters. Without ``.item`` items have no text.
    """

    folder: RelativePath = "recbole"
    """Folder inside ``--data`` that holds the files."""
    name: str | None = None
    """Name of the files before ``.inter`` and ``.item``; null: the only one in the folder."""
    benchmark_files: tuple[str, str, str] | None = None
    """RecBole's ``benchmark_filename``, for ``evaluation.split: files``: ``[train, valid, test]`` reads
    ``<name>.train.inter`` and so on in place of ``<name>.inter``. Requires ``core: 0``. null: one file."""
    user_field: str = "user_id"
    """RecBole's ``USER_ID_FIELD``."""
    item_field: str = "item_id"
    """RecBole's ``ITEM_ID_FIELD``."""
    time_field: str | None = "timestamp"
    """RecBole's ``TIME_FIELD``; null without times (requires ``order: file``)."""
    time_format: TimeFormat | None = None
    """Format of times that are neither Unix times nor ISO 8601, in codes of ``strftime``, or a list of formats; also of
    times that are written as numbers, such as 20240531."""
    time_unit: TimeUnit = "auto"
    """Unit of times that are numbers: s, ms, us or ns since 1970, or ``order`` for counters without dates. ``auto``: by
    the size of each number, below 100 million a counter; a column with two units is an error."""
    duplicates: Duplicates = "keep"
    """What happens to interactions with the same user, item and time as an earlier one."""
    rating_field: str = "rating"
    """RecBole's ``RATING_FIELD``, read only with ``min_rating``."""
    min_rating: float | None = None
    """Rows with a lower rating are dropped; null keeps all."""
    core: NonNegativeInt = 5
    """Users and items with fewer interactions are removed repeatedly (k-core); 0 or 1 keeps all."""
    order: Order = "time"
    """``time`` sorts by time, equal times in the order of the file; ``file`` keeps the order of the file."""
    title_field: str | None = None
    """Field of ``.item`` with the title; null: title, movie_title, item_name, product_title or name."""
    text_fields: tuple[str, ...] | None = None
    """Fields of ``.item`` that make up a text, in this order; null: the title, then every ``token_seq`` and the
    attributes, in the order of the file."""
    attribute_fields: tuple[str, ...] | None = None
    """Fields that are lists of categories and the like; null: class, genre(s), category, categories, tags, brand."""
    column_fields: Annotated[tuple[str, ...] | None, AfterValidator(_without_leaks)] = None
    """Fields that are typed columns of the catalog: ``float`` and years are numeric, ``token`` and ``token_seq``
    categorical; null: every ``float`` and ``token`` and the attributes, less title and image, where unreadable
    values are missing. Fields computed from user behavior, such as a mean rating or a sales rank, are left out, and
    rejected if named."""
    image_field: str | None = None
    """Field with the path of an image inside the folder; null: ``image`` or a like name, else ``images/<item>.jpg``."""
    unsold_items: Literal["drop", "keep"] = "drop"
    """What happens to items of ``.item`` that have no interaction: ``keep`` makes them cold items, the last of the
    catalog."""
    seq_separator: str | None = None
    """Separator of lists; null: a comma if the field has any, else a blank (RecBole's own)."""
    broken_rows: Literal["error", "skip"] = "error"
    """Whether an unreadable row or a repeated item is an error, or is skipped and counted."""

    @model_validator(mode="after")
    def _times_can_be_read(self) -> RecBole:
        check_time_settings("time_field", self.time_field, self.time_format, self.time_unit, self.duplicates)
        if self.benchmark_files is not None:
            check_core(self.core, "benchmark_files")
        return self

    def load(self, data: Path | None) -> Dataset:
        """Read the files; see :meth:`DatasetSource.load`."""
        paths, name = self._interactions(find(data, self.folder))
        path, block = paths[0], self.block()
        if self.benchmark_files is None:
            del block["benchmark_files"]  # as before there were any
        fingerprint = Fingerprint(block)
        skip = self.broken_rows == "skip"
        files = [TableFile(path, _LAYOUT) for path in paths]
        columns = [self._columns_of(file) for file in files]
        settings: dict[str, Any] = {"min_rating": self.min_rating, "skip": skip}
        settings |= {"time_format": self.time_format, "time_unit": self.time_unit}
        if len(files) == 1:
            interactions = read_interactions(files[0], columns[0], **settings)
        else:
            interactions = read_parts(files, columns, **settings)
        for path in paths:
            fingerprint.add_file(path)
        ordered = order_histories(
            interactions.table, path=paths[0], core=self.core, order=self.order, duplicates=self.duplicates
        )
        notes = [*ordered.notes, *interactions.notes]
        items, fields = Items(), ItemColumns()
        items_path = paths[0].with_name(f"{name}.item")
        if items_path.is_file():
            file = TableFile(items_path, _LAYOUT)
            column_of = _columns(file)
            fields = self._fields(column_of)
            require_columns(f"{items_path}:1", column_of, [self.item_field, *fields.names, *fields.typed])
            lists = [name for name in (*fields.attributes, fields.image) if name is not None]
            lists += [name for name in self.column_fields or () if fields.typed[name] == "categorical"]
            items = read_items(
                file,
                column_of[self.item_field],
                {name: column_of[name] for name in fields.names},
                {name: self.seq_separator if column_of[name].endswith("_seq") else "\t" for name in lists},
                ordered.item_keys,
                sold=interactions.items,
                keep_unsold=self.unsold_items == "keep",
                typed={name: (column_of[name], kind) for name, kind in fields.typed.items()},
                skip=skip,
                skip_values=skip or self.column_fields is None,
            )
            fingerprint.add_file(items_path)
            notes += items.notes
        keys = (*ordered.item_keys, *items.unsold)
        catalog, missing = catalog_of(keys, items, fields, paths[0].parent, fingerprint)
        times = None if ordered.times is None else ordered.times // interactions.ticks_per_second
        return Dataset(
            name=name,
            catalog=catalog,
            user_keys=ordered.user_keys,
            histories=ordered.histories,
            fingerprint=fingerprint.hexdigest(),
            notes=(*notes, *missing),
            order=ordered.order,
            times=times,
            times_are_dates=interactions.times_are_dates,
            parts=ordered.parts,
            findings=(*ordered.findings, *interactions.findings, *items.findings),
        )

    def _columns_of(self, file: TableFile) -> InteractionColumns:
        """The columns of a file of interactions."""
        column_of = _columns(file)
        wanted = [self.user_field, self.item_field]
        wanted += [self.rating_field] if self.min_rating is not None else []
        require_columns(f"{file.path}:1", column_of, wanted)
        if self.time_field is not None and self.time_field not in column_of:
            raise DataError(
                f"{file.path}:1: no column {self.time_field}; found {', '.join(column_of)}; name yours in "
                "time_field:, or set time_field: null and order: file to keep the order of the file"
            )
        return InteractionColumns(
            column_of[self.user_field],
            column_of[self.item_field],
            None if self.time_field is None else column_of[self.time_field],
            column_of.get(self.rating_field),
        )

    def _interactions(self, folder: Path) -> tuple[list[Path], str]:
        """The paths of ``.inter``, one or three, and the name of the dataset."""
        source = "RecSysDatasets publishes datasets in this format, or its scripts create them"
        ends = [".inter"] if self.benchmark_files is None else [f".{part}.inter" for part in self.benchmark_files]
        name = self.name
        if name is None:
            found = sorted(folder.glob(f"*{ends[0]}"))
            if not found:
                raise DataError(f"{folder}: no file <name>{ends[0]}: users, items and times; {source}; put it there")
            names = [path.name.removesuffix(ends[0]) for path in found]
            if len(found) > 1:
                parts = "; for the files of a split set benchmark_files" if any("." in one for one in names) else ""
                raise DataError(f"{folder}: there are several datasets; set name: one of {', '.join(names)}{parts}")
            name = names[0]
        paths = [folder / f"{name}{end}" for end in ends]
        for path in paths:
            if not path.is_file():
                raise DataError(f"{path}: missing file: users, items and times; {source}; put it there")
        return paths, name

    def _fields(self, column_of: dict[str, str]) -> ItemColumns:
        """The role of each field of ``.item`` where the recipe does not set it."""
        texts = [name for name, column in column_of.items() if column.rpartition(":")[2] in _TEXT_TYPES]
        title = self.title_field or next((name for name in _TITLES if name in texts), None)
        image = self.image_field or next((name for name in _IMAGES if name in texts), None)
        attributes = self.attribute_fields
        if attributes is None:
            attributes = tuple(name for name in texts if name in _LISTS)
        texts_of = self.text_fields
        if texts_of is None:
            rest = [name for name in texts if column_of[name].endswith(":token_seq") or name in attributes]
            others = [name for name in rest if name not in (title, image, self.item_field)]
            texts_of = tuple(others if title is None else [title, *others])
        return ItemColumns(title, texts_of, attributes, image, self._typed(column_of, attributes, (title, image)))

    def _typed(
        self, column_of: dict[str, str], attributes: tuple[str, ...], others: tuple[str | None, ...]
    ) -> dict[str, ColumnKind]:
        """The kind of each field that is a column of the catalog, whether ``.item`` has it or not."""
        types = {name: column.rpartition(":")[2] for name, column in column_of.items()}
        chosen = self.column_fields
        if chosen is None:
            found = [name for name, kind in types.items() if kind in ("float", "token") or name in attributes]
            chosen = tuple(
                name for name in found if name not in (self.item_field, *others) and not is_of_behavior(name)
            )
        is_number = {name: types.get(name) == "float" or name.endswith("year") for name in chosen}
        return {name: "numeric" if is_number[name] else "categorical" for name in chosen}


def _columns(file: TableFile) -> dict[str, str]:
    """The column of each field: the header line has ``field:type``."""
    columns = {column.rpartition(":")[0]: column for column in file.columns}
    if "" in columns:
        raise DataError(
            f"{file.path}:1: {columns['']!r} has no type; expected a header line of field:type with tabs between, such "
            "as 'user_id:token<TAB>item_id:token'"
        )
    return columns
