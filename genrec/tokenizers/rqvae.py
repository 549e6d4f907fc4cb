"""RQ-VAE (TIGER, Rajput et al. 2023): an autoencoder whose latent vectors are quantised level by level."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import WorkContext
from genrec.runtime.threads import one_thread
from genrec.tokenizers._present import for_all_items, present_rows, unit_rows
from genrec.tokenizers._reconstruction import sum_of_centres
from genrec.tokenizers._residual import assign, quantize, tell_apart
from genrec.types import ItemVectors, SemanticIds

_BLOCK = 65_536
"""Points that go through a network at a time."""


@tokenizers.register("rqvae")
class RqVae(Tokenizer):
    """Learn an encoder, a codebook for each level and a decoder together; an item's codes are those of its latent.

    The loss of a vector x with latent z = encoder(x), residuals r_1 = z, r_l+1 = r_l - e_l and nearest codes e_l is
    ``|x - decoder(e_1 + ... + e_L)|^2 + sum over l of (|sg[r_l] - e_l|^2 + commitment |r_l - sg[e_l]|^2)``; the
    decoder's gradient reaches the encoder as if nothing had been quantised (straight through). Squares are means over
    the entries of a vector, so neither width nor latent width changes the balance.

    Against collapse: codes start at the k-means centres of the residuals, level by level (SoundStream, Zeghidour et al.
    2021), and codes that no item used are moved to the residuals of random items before each epoch.

    Differs from TIGER: those two (it has the k-means start alone), vectors are standardised first, AdamW in place of
    Adagrad, and some hundred passes in place of 20,000.
    """

    is_random: ClassVar[bool] = True

    levels: PositiveInt = 3
    """Levels before any suffix."""
    codes: PositiveInt = 256
    """Codes of each level."""
    hidden: tuple[PositiveInt, ...] = (512, 256, 128)
    """Widths of the encoder's hidden layers (ReLU); the decoder has them in reverse."""
    latent_dim: PositiveInt = 32
    """Width of what is quantised."""
    commitment: NonNegativeFloat = 0.25
    """Weight of the loss that keeps the encoder near its codes."""
    kmeans_start: bool = True
    """Start the codes at k-means centres; off: at random numbers, as networks start."""
    revive: bool = True
    """Move codes that no item used to the residuals of random items, before each epoch."""
    epochs: PositiveInt = 100
    """Passes over the items."""
    batch_size: PositiveInt = 256
    """Items in a batch; fewer, but no less than 16, where a pass would have fewer than 32 batches."""
    learning_rate: PositiveFloat = 3e-3
    """Peak learning rate of AdamW, after 5 % of the steps; it ends at 0 (cosine)."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; codebooks and biases are left out."""
    collisions: Literal["suffix", "nearest_free"] = "suffix"
    """What tells items of one code apart: a further level that numbers them (``suffix``, as in TIGER; left out where
    no two items collide), or the nearest free last code (``nearest_free``)."""
    normalize: bool = False
    """Scale the vectors to length 1 first."""

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Train on the present items, then quantise them.

        The codebook holds ``codebooks`` (levels, codes, latent_dim); ``encoder_weight_<n>`` (out, in) and
        ``encoder_bias_<n>`` of each layer, as ``decoder_*``; ``mean`` (E,) and ``scale`` (1,), by which vectors are
        standardised; and ``normalized``: whether they are of length 1 before that.

        Raises:
            DataError: no item has a vector, or ``nearest_free`` finds no free code.
            TrainingError: the training ran away.
        """
        from genrec.tokenizers._rqvae import trained

        rows_N = present_rows(vectors, self.type_name)
        points_NE = vectors.vectors_IE[rows_N]
        if self.normalize:
            points_NE = unit_rows(points_NE)
        mean_E = points_NE.mean(axis=0, dtype=np.float64)
        # Rounding alone gives equal vectors a variance; blown up to 1, it would be all that is learned.
        deviation = float(np.sqrt(((points_NE - mean_E) ** 2).mean()))
        is_spread = deviation > 1e-6 * float(np.abs(points_NE).max())
        codebook = {
            "mean": mean_E.astype(np.float32),
            "scale": np.array([deviation if is_spread else 1.0], dtype=np.float32),
            "normalized": np.array([self.normalize]),
        }
        with one_thread():  # last digits grow in training
            codebook |= trained(self, (points_NE - codebook["mean"]) / codebook["scale"], context)
            codes_NL, before_last_ND = quantize(_encode(points_NE, codebook), codebook["codebooks"])
        codes_NL, sizes, collisions = tell_apart(
            codes_NL,
            self.codes,
            before_last_ND,
            codebook["codebooks"][-1],
            collisions=self.collisions,
            tokenizer=self.type_name,
        )
        return SemanticIds(for_all_items(codes_NL, rows_N, len(vectors.present_I)), sizes, codebook, collisions)

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Encode the new vectors and quantise them with the codebook.

        Last comes the lowest free suffix, or the nearest free last code; see :meth:`Tokenizer.assign`.
        """
        return assign(
            ids,
            vectors,
            new,
            centres_LVE=ids.codebook["codebooks"],
            normalize=self.normalize,
            tokenizer=self.type_name,
            encode=lambda points_NE: _encode(points_NE, ids.codebook),
        )

    def reconstruct(self, ids: SemanticIds, *, levels: int | None = None) -> np.ndarray:
        """What the decoder makes of the sum of the codes that are read."""
        codebook = ids.codebook
        latent_ID = sum_of_centres(ids, codebook["codebooks"], levels)
        said_IE = np.full((len(latent_ID), len(codebook["mean"])), np.nan, dtype=np.float32)
        is_known_I = ~np.isnan(latent_ID).any(axis=1)
        said_NE = _through(latent_ID[is_known_I], codebook, "decoder")
        said_IE[is_known_I] = said_NE * codebook["scale"] + codebook["mean"]
        return said_IE


def _encode(points_NE: np.ndarray, codebook: Mapping[str, np.ndarray]) -> np.ndarray:
    """Latent vectors, float32 (N, latent_dim)."""
    return _through((points_NE - codebook["mean"]) / codebook["scale"], codebook, "encoder")


def _through(points_NE: np.ndarray, codebook: Mapping[str, np.ndarray], network: str) -> np.ndarray:
    """Through all layers of the encoder or the decoder, with ReLU between them."""
    num_layers = sum(name.startswith(f"{network}_weight_") for name in codebook)
    blocks = []
    for start in range(0, max(len(points_NE), 1), _BLOCK):
        block = points_NE[start : start + _BLOCK]
        for layer in range(num_layers):
            block = block @ codebook[f"{network}_weight_{layer}"].T + codebook[f"{network}_bias_{layer}"]
            if layer < num_layers - 1:
                block = np.maximum(block, 0.0)
        blocks.append(block)
    return np.concatenate(blocks)
