"""Each stream's model in the ONNX format: histories in, the log-probability of every item out."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from genrec.decoders.transition import TransitionDecoder
from genrec.errors import GenrecError
from genrec.merges.single import Single
from genrec.model.contracts import DecoderModule, Encoded
from genrec.model.vocabularies import PathVocabulary
from genrec.runtime.files import replacing
from genrec.runtime.progress import track
from genrec.search.streams import search_streams
from genrec.semantic_ids.trie import Trie
from genrec.serving.recommender import Recommender
from genrec.types import ABSENT, Histories
from genrec.version import __version__

FOLDER = "onnx"
_OPSET = 18
_LIST_LENGTH, _NUM_CHECKED, _TOLERANCE = 20, 16, 1e-4
"""The check: length and number of lists, and the difference of log-probabilities (nats) that counts as a tie."""


class StreamScores(nn.Module):
    """One stream as a function of histories alone.

    Args:
        recommender: of the run.
        name: of the stream.
    """

    leaf_of_item_I: Tensor

    def __init__(self, recommender: Recommender, name: str) -> None:
        super().__init__()
        model, decoder = recommender.model, recommender.recipe.streams[name].decoder
        self._trie: Trie = recommender.tries[name]
        self._num_items = len(recommender.names)
        self.history_encoder = copy.deepcopy(model.history_encoder(name)) if decoder.reads_states else None
        self.decoder: DecoderModule = copy.deepcopy(model.decoders[name])
        vocabulary = getattr(self.decoder, "vocabulary", None)
        if isinstance(vocabulary, PathVocabulary):  # sampled products have no counterpart in ONNX
            vocabulary.__class__ = _WholeLevels
        tree = self._trie.on(torch.device("cpu"))
        for depth in range(self._trie.num_levels):
            self.register_buffer(f"parent_{depth}", tree.parent[depth])
            self.register_buffer(f"place_{depth}", tree.parent[depth] * tree.widths[depth] + tree.slot[depth])
        leaf_of_item_I = np.full(self._num_items, len(self._trie.item_of_leaf), dtype=np.int64)
        leaf_of_item_I[self._trie.item_of_leaf] = np.arange(len(self._trie.item_of_leaf))
        self.register_buffer("leaf_of_item_I", torch.from_numpy(leaf_of_item_I))

    def forward(self, history_BT: Tensor) -> Tensor:
        """Log-probabilities (nats) of all items, float32 (B, I); -inf for items that the stream does not recommend.

        Args:
            history_BT: item numbers, oldest first, int64; padded at the end with the number of items. Each row has at
                least one item.
        """
        if self.history_encoder is None:
            is_item_BT = history_BT != self._num_items
            nothing = torch.zeros_like(history_BT, dtype=torch.float32)[:, :, None]
            encoded = Encoded(nothing, is_item_BT, True, history_BT)
        else:
            encoded = replace(self.history_encoder(history_BT), history_BT=history_BT)
        if isinstance(self.decoder, TransitionDecoder):
            leaves_BM = _transition_scores(self.decoder, encoded)
        else:
            leaves_BM = self._leaf_scores(encoded)
        none_B1 = torch.full_like(leaves_BM[:, :1], -torch.inf)
        return torch.cat([leaves_BM, none_B1], 1)[:, self.leaf_of_item_I]

    def _leaf_scores(self, encoded: Encoded) -> Tensor:
        """What the exact search adds up, without its checks and its parts."""
        B = encoded.mask_BT.shape[0]
        state = self.decoder.begin(encoded)
        totals_BK = torch.zeros_like(encoded.states_BTD[:, 0, :1])
        origin_K = torch.zeros(1, dtype=torch.int64)
        for depth in range(self._trie.num_levels):
            nodes_K = torch.arange(self._trie.num_nodes(depth))
            steps_BKC = self.decoder.expand(state, depth, nodes_K.expand(B, -1), origin_K.expand(B, -1))
            origin_K = getattr(self, f"parent_{depth}")
            totals_BK = totals_BK[:, origin_K] + steps_BKC.flatten(1)[:, getattr(self, f"place_{depth}")]
        return totals_BK


class _WholeLevels(PathVocabulary):
    """Takes all nodes of a depth in their order, for each user, and no others."""

    def child_log_probs(self, depth: int, hidden_ND: Tensor, nodes_N: Tensor) -> Tensor:
        start = self.child_start(depth)
        first_K1, count_K1 = start[:-1, None], start.diff()[:, None]
        place_C = torch.arange(self.max_children[depth])
        children_KC = first_K1 + torch.minimum(place_C, count_K1 - 1)
        hidden_KBD = hidden_ND.unflatten(0, (-1, children_KC.shape[0])).transpose(0, 1)
        logits_KBC = torch.bmm(hidden_KBD, self.embed(depth, children_KC).transpose(1, 2))
        log_probs_KBC = logits_KBC.masked_fill((place_C >= count_K1)[:, None], -torch.inf).log_softmax(-1)
        return log_probs_KBC.transpose(0, 1).flatten(0, 1)


def _transition_scores(decoder: TransitionDecoder, encoded: Encoded) -> Tensor:
    """The decoder's sum over the pairs of a user's items, over all pairs instead: no size depends on the data."""
    latest_BK, had = decoder.begin(encoded)
    weights_KG = (decoder.place_weights_K[:, None] + decoder.gap_weights_G).exp()
    smoothing = decoder.smoothing.exp()
    followed_BI = (smoothing * decoder.popularity_I).expand(latest_BK.shape[0], -1)
    nothing_BJ = torch.zeros_like(decoder.total_IG[:, 0]).expand(latest_BK.shape[0], -1)  # also of padding
    before_P, follower_P = decoder.pairs_P // decoder.num_items, decoder.pairs_P % decoder.num_items
    for gap in range(weights_KG.shape[1]):
        weight_BJ = nothing_BJ.scatter_add(1, latest_BK, weights_KG[:, gap].expand_as(latest_BK))
        pairs_BP = weight_BJ[:, before_P] * decoder.counts_PG[:, gap]
        followed_BI = followed_BI.scatter_add(1, follower_P.expand_as(pairs_BP), pairs_BP)
    all_B = (decoder.total_IG[latest_BK] * weights_KG).sum((1, 2)) + smoothing
    leaves_BM = (followed_BI[:, decoder.items_M] / all_B[:, None]).log()
    return (
        leaves_BM if decoder.repeats is None or had is None else decoder.repeats.of_all(leaves_BM, decoder.nodes_I, had)
    )


def write_onnx(recommender: Recommender, folder: Path) -> None:
    """Write the model of each stream as ``onnx/<stream>.onnx``.

    Args:
        recommender: of the run, on the CPU.
        folder: of the export.

    Raises:
        GenrecError: as :func:`onnx_model`.
    """
    for name in track(list(recommender.tries), "ONNX"):
        content = onnx_model(recommender, name)
        with replacing(folder / FOLDER / f"{name}.onnx") as partial:
            partial.write_bytes(content)


def onnx_model(recommender: Recommender, name: str) -> bytes:
    """The model of a stream in the ONNX format; its lists were compared with those of the exact search.

    Its input ``history`` is int64 (batch, length), its output ``log_probs`` float32 (batch, items): see
    :meth:`StreamScores.forward`. Batch size and length are free, the length up to the ``max_history`` in its metadata.

    Args:
        recommender: of the run, on the CPU.
        name: of the stream.

    Raises:
        GenrecError: packages are missing, a module cannot be written in this format, or the lists differ.
    """
    for package in ("onnx", "onnxruntime", "onnxscript"):
        if not _is_installed(package):
            raise GenrecError(f"--onnx: {package} is not installed: pip install 'genrec[onnx]'")
    stream = recommender.recipe.streams[name]
    encoder = stream.history_encoder or recommender.recipe.history_encoder
    read_by = f"history encoder {encoder.type_name}, " if stream.decoder.reads_states else ""
    what = f"stream {name} ({read_by}decoder {stream.decoder.type_name})"
    try:
        model = _converted(StreamScores(recommender, name).eval(), len(recommender.names), encoder.max_history)
    except Exception as error:  # of torch and onnxscript, of many types
        reason = " ".join(str(error).split())[:200]
        raise GenrecError(
            f"--onnx: {what} cannot be written in the ONNX format ({type(error).__name__}: {reason}); export without "
            "--onnx"
        ) from error
    metadata = {"genrec": __version__, "stream": name, "items": len(recommender.names)}
    for key, value in {**metadata, "max_history": encoder.max_history}.items():
        model.metadata_props.add(key=key, value=str(value))
    content = model.SerializeToString()
    _check_lists(recommender, name, content, encoder.max_history, what)
    return content


def _is_installed(package: str) -> bool:
    try:
        import_module(package)
    except ImportError:
        return False
    return True


def _converted(scores: StreamScores, num_items: int, max_history: int) -> Any:
    """The model as an ``onnx.ModelProto``."""
    example_BT = torch.from_numpy(_random_histories(num_items, max_history, 3).last(max_history, padding=num_items)[0])
    sizes = {0: torch.export.Dim("batch", min=1), 1: torch.export.Dim("length", min=1, max=max_history)}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(scores, (example_BT,), dynamic_shapes=(sizes,), strict=True)
        written = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=_OPSET,
            input_names=["history"],
            output_names=["log_probs"],
            verbose=False,
        )
    assert written is not None
    model = written.model_proto
    for value in (*model.graph.input, *model.graph.output):
        for size, label in zip(value.type.tensor_type.shape.dim, ("batch", "length"), strict=True):
            if size.dim_param:
                size.dim_param = label
    return model


def _check_lists(recommender: Recommender, name: str, content: bytes, max_history: int, what: str) -> None:
    """Compare the lists under onnxruntime with those of the exact search, up to ties.

    Raises:
        GenrecError: they differ.
    """
    num_items = len(recommender.names)
    length = min(_LIST_LENGTH, num_items)
    histories = _random_histories(num_items, max_history + 3, _NUM_CHECKED)
    settings = recommender.recipe.search.model_copy(update={"method": "exact", "list_length": length})
    found = search_streams(
        recommender.model,
        {name: recommender.tries[name]},
        histories,
        settings,
        num_items=num_items,
        max_history=recommender.recipe.max_history,
    )
    ranking = Single(stream=name).merge(found, top_n=length)
    onnxruntime = import_module("onnxruntime")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    history_BT = histories.last(max_history, padding=num_items)[0]
    log_probs_BI = np.asarray(session.run(None, {"history": history_BT})[0])
    is_item_BN = ranking.items_BN != ABSENT
    of_items_BN = np.take_along_axis(log_probs_BI, np.where(is_item_BN, ranking.items_BN, 0), axis=1)
    best_BN = -np.sort(-log_probs_BI, axis=1)[:, : ranking.items_BN.shape[1]]
    for scores_BN in (of_items_BN, best_BN):
        if not np.allclose(scores_BN[is_item_BN], ranking.scores_BN[is_item_BN], rtol=0, atol=_TOLERANCE):
            raise GenrecError(
                f"--onnx: {what}: the lists under onnxruntime differ from those of the exact search; export without "
                "--onnx"
            )


def _random_histories(num_items: int, longest: int, count: int) -> Histories:
    """Histories of 1 to ``longest`` items, at least one of them that long."""
    random = np.random.default_rng(0)
    lengths = [longest, *random.integers(1, longest + 1, count - 1)]
    return Histories.of([random.integers(num_items, size=length).tolist() for length in lengths])
