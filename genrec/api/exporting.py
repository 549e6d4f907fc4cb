"""Export a finished run for serving and for model hubs."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from genrec.registry import plugin_errors
from genrec.serving.hub import run_folder


class HasPath(Protocol):
    """A :class:`~genrec.Run`."""

    @property
    def path(self) -> Path: ...


@plugin_errors()
def export(
    run: str | Path | HasPath,
    folder: str | Path,
    *,
    images: bool = False,
    onnx: bool = False,
    data: str | Path | None = None,
) -> Path:
    """Export a finished run: model, semantic IDs, items, results and a model card, ready for a model hub.

    The export has no users, histories or ranks. It is verified when it is loaded, by :func:`load_run` or
    :meth:`Recommender.load`, and needs only the packages in its ``requirements.txt``.

    Args:
        run: folder of a finished run, or a run.
        folder: of the export; new or empty.
        images: also write thumbnails of the items, which needs the dataset of the run.
        onnx: also write each stream's model in the ONNX format.
        data: data folder, for ``images``; default: that of the run.

    Returns:
        The folder of the export.

    Raises:
        DataError: the folder is not empty, or a file of the run or its dataset is missing or damaged.
        PluginError: a plugin of its recipe is missing.
        GenrecError: packages for ``onnx`` are missing, or the model cannot be written in this format.
    """
    from genrec.serving.export import export_run  # imports torch, which takes seconds

    path = run_folder(run) if isinstance(run, str | Path) else run.path
    return export_run(path, Path(folder), images=images, onnx=onnx, data=None if data is None else Path(data))
