"""Runs on a model hub: ``hf://user/name`` stands for the folder of an export that is downloaded and cached."""

from __future__ import annotations

import re
from pathlib import Path

from genrec.errors import DataError, GenrecError
from genrec.version import __version__

_ADDRESS = re.compile(r"hf:/{1,2}(?P<repository>[^/@]+/[^/@]+?)/?(?:@(?P<revision>.+))?")
"""As a :class:`~pathlib.Path`, an address has one slash less."""
_FILES = ("run.json", "recipe.yaml", "items.json", "merge.json", "metrics.json", "report.md", "curves.svg")
_FILES += ("audit.json", "versions.json", "README.md", "requirements.txt", "model.safetensors", "streams/*.safetensors")
"""All that is downloaded, with subfolders: no code."""


def run_folder(path: str | Path, *, images: bool = False) -> Path:
    """The folder of a run: the path itself, or for ``hf://user/name[@revision]`` the copy in the cache of the hub.

    Only data are downloaded (safetensors, JSON, YAML, text), never code. The cache, the server and the token are those
    of ``huggingface_hub`` (``HF_HOME``, ``HF_ENDPOINT``, ``HF_TOKEN``); without a connection the cached copy is used.

    Args:
        path: a folder, or ``hf://user/name`` with ``@`` and a branch, tag or commit behind it.
        images: also download the thumbnails of the items.

    Raises:
        GenrecError: ``huggingface_hub`` is not installed.
        DataError: the address is malformed, there is no such repository, or it has no export of genrec.
    """
    text = str(path).replace("\\", "/")
    if not text.startswith("hf:/") and text != "hf:":
        return Path(path)
    parts = _ADDRESS.fullmatch(text)
    if parts is None:
        address = f"hf://{text.removeprefix('hf:').lstrip('/')}"
        raise DataError(f"{address}: expected hf://user/name, or hf://user/name@revision with a branch, tag or commit")
    repository, revision = parts["repository"], parts["revision"]
    address = f"hf://{repository}" + (f"@{revision}" if revision else "")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise GenrecError(f"{address}: huggingface_hub is not installed: pip install huggingface_hub") from None
    try:
        folder = snapshot_download(
            repository,
            revision=revision,
            allow_patterns=[*_FILES, "images/*.safetensors"] if images else list(_FILES),
            library_name="genrec",
            library_version=__version__,
        )
    except Exception as error:  # of the hub's client, of its HTTP library or of the disk
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{address}: cannot be downloaded ({type(error).__name__}: {reason}); expected a repository with an export "
            "of genrec: check the name, the revision, the connection and, for a private one, the token (hf auth login)"
        ) from None
    if not (Path(folder) / "run.json").is_file():
        raise DataError(f"{address}: has no run.json, expected what `genrec export` wrote")
    return Path(folder)
