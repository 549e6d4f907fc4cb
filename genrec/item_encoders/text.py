"""Item texts through any sentence-transformers or transformers encoder: safetensors only, no remote code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from genrec.errors import DataError
from genrec.families import ItemEncoder, KnownItems, item_encoders
from genrec.item_encoders._new_items import NO_HISTORIES, all_absent
from genrec.item_encoders._rows import place, unit_rows
from genrec.item_encoders._truncation import num_tokens, truncation_notes
from genrec.item_encoders._weights import (
    RANDOM_WEIGHTS_KEY,
    demand_loaded,
    download,
    find_folder,
    inspect,
    transformer_folder,
)
from genrec.runtime.environment import Environment, WorkContext
from genrec.runtime.limits import Count
from genrec.runtime.progress import Bar
from genrec.types import Catalog, Histories, ItemVectors

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


@item_encoders.register("text")
class Text(ItemEncoder):
    """Vectors of the items' texts from a pretrained sentence encoder."""

    reads_histories = False
    speed_only: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    model: str = "sentence-transformers/all-MiniLM-L6-v2"
    """A model folder, ``package:<module>`` for a Python package that carries one, or a name on the Hugging Face Hub."""
    revision: str | None = None
    """Commit or tag on the hub; by default the newest."""
    pooling: Literal["auto", "mean", "cls"] = "auto"
    """Pooling of token states: that of the model's folder (default: mean), mean, or the first token; mean and cls drop
    the folder's modules after pooling."""
    normalize: bool = True
    """Scale vectors to length 1."""
    max_length: Count | None = None
    """Longest text in tokens; at most, and by default, the model's limit."""
    batch_size: Count = 32
    """Texts in a batch; texts of similar length are batched together to avoid padding."""

    def input_files(self, environment: Environment) -> tuple[Path, ...]:
        """The model's folder, where it is on this machine."""
        folder = find_folder(self.model, environment)
        return () if folder is None else (folder,)

    def prepare(self, catalog: Catalog, *, context: WorkContext) -> None:
        """Check that there are texts, and that the weights are available and safe; download them if needed."""
        self._present(catalog)
        inspect(self._folder(context))

    def encode(self, catalog: Catalog, train: Histories, *, context: WorkContext) -> ItemVectors:
        present_I = self._present(catalog)
        folder = self._folder(context)
        config = inspect(folder)
        encoder = self._load(folder, context)
        texts = [catalog.texts[item] for item in np.flatnonzero(present_I)]
        lengths_N = num_tokens(encoder.tokenizer, texts)
        vectors_NE = self._vectors(encoder, texts, lengths_N)
        if self.normalize:
            vectors_NE = unit_rows(vectors_NE)
        notes = [f"the weights of {self.model} are random"] if config.get(RANDOM_WEIGHTS_KEY) else []
        notes += truncation_notes(encoder.tokenizer, texts, lengths_N, limit=encoder.max_seq_length)
        return place(vectors_NE, present_I, tuple(notes))

    def encode_new(self, new: Catalog, known: KnownItems, *, context: WorkContext) -> ItemVectors:
        """Encode the texts of the new items."""
        if not any(text.strip() for text in new.texts):
            return all_absent(new, known)
        return self.encode(new, NO_HISTORIES, context=context)

    def _folder(self, context: WorkContext) -> Path:
        """The model's folder, downloaded if needed."""
        return find_folder(self.model, context.environment) or download(self.model, self.revision)

    def _present(self, catalog: Catalog) -> np.ndarray:
        """Whether items have a text, bool (I,); an error if none has."""
        present_I = np.array([bool(text.strip()) for text in catalog.texts], dtype=bool)
        if not present_I.any():
            raise DataError(f"{self.type_name}: no item of this dataset has a text; choose another item encoder")
        return present_I

    def _load(self, folder: Path, context: WorkContext) -> SentenceTransformer:
        """Load the encoder of a folder in float32, in evaluation mode."""
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            raise DataError(
                f"{self.type_name}: sentence-transformers cannot be imported ({error}); pip install 'genrec[text]'"
            ) from error
        options: dict[str, Any] = {
            "device": str(context.device),
            "local_files_only": True,
            "trust_remote_code": False,
            "model_kwargs": {"use_safetensors": True},
        }
        try:
            with _no_bars():
                encoder = SentenceTransformer(str(folder), **options)
            transformer: Any = encoder[0]
            demand_loaded(transformer_folder(folder), list(transformer.auto_model.state_dict()))
            if self.pooling != "auto":
                encoder = SentenceTransformer(modules=_pooled(encoder, self.pooling), device=options["device"])
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise DataError(f"{folder}: the text encoder cannot be loaded: {error}") from error
        if self.max_length is not None:
            encoder.max_seq_length = min(self.max_length, encoder.max_seq_length or self.max_length)
        return encoder.float().eval()

    def _vectors(self, encoder: SentenceTransformer, texts: list[str], lengths_N: np.ndarray) -> np.ndarray:
        """Encode texts in batches of similar length in tokens, the longest first, (N, E)."""
        order = np.argsort(-np.minimum(lengths_N, encoder.max_seq_length or np.inf), kind="stable")
        parts = []
        with Bar(self.type_name, len(texts)) as bar:
            for start in range(0, len(texts), self.batch_size):
                batch = [texts[row] for row in order[start : start + self.batch_size]]
                vectors = encoder.encode(batch, batch_size=len(batch), show_progress_bar=False, convert_to_numpy=True)
                parts.append(np.asarray(vectors, dtype=np.float32))
                bar.advance(len(batch))
        vectors_NE = np.empty((len(texts), parts[0].shape[1]), dtype=np.float32)
        vectors_NE[order] = np.concatenate(parts)
        return vectors_NE


@contextmanager
def _no_bars() -> Iterator[None]:
    """Disable the progress bars of transformers."""
    from transformers.utils import logging

    if not logging.is_progress_bar_enabled():
        yield
        return
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.enable_progress_bar()


def _pooled(encoder: SentenceTransformer, mode: str) -> list[Any]:
    """The encoder's transformer with another pooling, without later modules."""
    transformer: Any = encoder[0]
    kinds = [type(module) for module in encoder if type(module).__name__ == "Pooling"]
    if not kinds:
        raise ValueError("the folder has no pooling module that `pooling` could replace; use pooling: auto")
    return [transformer, kinds[0](transformer.auto_model.config.hidden_size, pooling_mode=mode)]
