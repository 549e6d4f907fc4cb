"""RQ-VAE (TIGER, Rajput et al. 2023): an autoencoder whose latent vectors are quantized level by level."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from genrec.families import Tokenizer, tokenizers
from genrec.runtime.environment import WorkContext
from genrec.runtime.limits import Codes, Count, Depth, Width
from genrec.runtime.seeds import derive
from genrec.runtime.threads import one_thread
from genrec.tokenizers._present import for_all_items, present_rows, unit_rows
from genrec.tokenizers._reconstruction import sum_of_centers
from genrec.tokenizers._residual import assign, quantize, resolve_collisions
from genrec.training.settings import OptimizationSettings
from genrec.training.trainer import train
from genrec.types import ItemVectors, SemanticIds

_BLOCK = 65_536
"""Points per forward pass through a trained network."""
_START_ITEMS = 65_536
"""Items, at most, for the k-means start."""
_START_ITERATIONS = 20
"""Iterations of the k-means start."""
_WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""
_FEWEST_BATCHES, _SMALLEST_BATCH = 32, 16
"""An epoch has at least so many batches, if need be smaller ones, so that small catalogs get enough steps."""
_TRAINING_BLOCK = 16_384
"""Items that are encoded in one block, without gradient, during training."""


@tokenizers.register("rqvae")
class RqVae(Tokenizer):
    """Train an encoder, a codebook per level and a decoder jointly; an item's codes are those of its latent vector.

    The loss of a vector x with latent z = encoder(x), residuals r_1 = z, r_l+1 = r_l - e_l and nearest codes e_l is
    ``|x - decoder(e_1 + ... + e_L)|^2 + sum over l of (|sg[r_l] - e_l|^2 + commitment |r_l - sg[e_l]|^2)``; the
    decoder's gradient reaches the encoder as if nothing had been quantized (straight through). Squares are means over
    the entries of a vector, so neither width nor latent width changes the balance.

    Against collapse: codes start at the k-means centers of the residuals, level by level (SoundStream, Zeghidour et al.
    2021), and codes that no item used are moved to the residuals of random items before each epoch.

    Differs from TIGER: revived codes (TIGER has only the k-means start), standardized vectors, AdamW in place of
    Adagrad, and about a hundred epochs in place of 20,000.
    """

    is_random: ClassVar[bool] = True

    levels: Depth = 3
    """Levels before any suffix."""
    codes: Codes = 256
    """Codes of each level."""
    hidden: tuple[Width, ...] = (512, 256, 128)
    """Widths of the encoder's hidden layers (ReLU); the decoder has them in reverse."""
    latent_dim: Width = 32
    """Width of the latent vectors, which are quantized."""
    commitment: NonNegativeFloat = 0.25
    """Weight of the loss that keeps the encoder near its codes."""
    kmeans_start: bool = True
    """Start the codes at k-means centers; off: at random numbers."""
    revive: bool = True
    """Move codes that no item used to the residuals of random items, before each epoch."""
    epochs: Count = 100
    """Passes over the items."""
    batch_size: Count = 256
    """Items in a batch; fewer, but no less than 16, where a pass would have fewer than 32 batches."""
    learning_rate: PositiveFloat = 3e-3
    """Peak learning rate of AdamW, after 5 % of the steps; it ends at 0 (cosine)."""
    weight_decay: NonNegativeFloat = 0.0
    """Weight decay; codebooks and biases are left out."""
    collisions: Literal["suffix", "nearest_free"] = "suffix"
    """How collisions are resolved: a further level that numbers the items of a code (``suffix``, as in TIGER; left out
    where no two items collide), or the nearest free last code (``nearest_free``)."""
    normalize: bool = False
    """Scale the vectors to length 1 first."""

    def fit(self, vectors: ItemVectors, *, keys: tuple[str, ...], context: WorkContext) -> SemanticIds:
        """Train on the present items, then quantize them.

        The codebook holds ``codebooks`` (levels, codes, latent_dim); ``encoder_weight_<n>`` (out, in) and
        ``encoder_bias_<n>`` of each layer, as ``decoder_*``; ``mean`` (E,) and ``scale`` (1,), by which vectors are
        standardized; and ``normalized``: whether they are of length 1 before that.

        Raises:
            DataError: no item has a vector, or ``nearest_free`` finds no free code.
            TrainingError: a loss is not finite.
        """
        import sklearn.cluster  # noqa: F401 - one_thread limits only libraries that are loaded

        rows_N = present_rows(vectors, self.type_name)
        points_NE = vectors.vectors_IE[rows_N]
        if self.normalize:
            points_NE = unit_rows(points_NE)
        mean_E = points_NE.mean(axis=0, dtype=np.float64)
        # Equal vectors have a variance by rounding; scaled to 1, the network would learn only rounding errors.
        deviation = float(np.sqrt(((points_NE - mean_E) ** 2).mean()))
        is_spread = deviation > 1e-6 * float(np.abs(points_NE).max())
        codebook = {
            "mean": mean_E.astype(np.float32),
            "scale": np.array([deviation if is_spread else 1.0], dtype=np.float32),
            "normalized": np.array([self.normalize]),
        }
        with one_thread():  # differences in last digits grow in training
            codebook |= trained(self, (points_NE - codebook["mean"]) / codebook["scale"], context)
            codes_NL, before_last_ND = quantize(_encode(points_NE, codebook), codebook["codebooks"])
        codes_NL, sizes, collisions = resolve_collisions(
            codes_NL,
            self.codes,
            before_last_ND,
            codebook["codebooks"][-1],
            collisions=self.collisions,
            tokenizer=self.type_name,
        )
        return SemanticIds(for_all_items(codes_NL, rows_N, len(vectors.present_I)), sizes, codebook, collisions)

    def assign(self, ids: SemanticIds, vectors: ItemVectors, new: ItemVectors) -> SemanticIds:
        """Encode the new vectors and quantize them with the codebook.

        Last comes the lowest free suffix, or the nearest free last code; see :meth:`Tokenizer.assign`.
        """
        return assign(
            ids,
            vectors,
            new,
            centers_LVE=ids.codebook["codebooks"],
            normalize=self.normalize,
            tokenizer=self.type_name,
            encode=lambda points_NE: _encode(points_NE, ids.codebook),
        )

    def reconstruct(self, ids: SemanticIds, *, levels: int | None = None) -> np.ndarray:
        """The decoder's output for the sum of the codes that are read."""
        codebook = ids.codebook
        latent_ID = sum_of_centers(ids, codebook["codebooks"], levels)
        decoded_IE = np.full((len(latent_ID), len(codebook["mean"])), np.nan, dtype=np.float32)
        is_known_I = ~np.isnan(latent_ID).any(axis=1)
        decoded_NE = _through(latent_ID[is_known_I], codebook, "decoder")
        decoded_IE[is_known_I] = decoded_NE * codebook["scale"] + codebook["mean"]
        return decoded_IE


def trained(settings: RqVae, points_NE: np.ndarray, context: WorkContext) -> dict[str, np.ndarray]:
    """Train on standardized vectors, float32 (N, E); weights are named as in :meth:`RqVae.fit`."""
    seed, device = context.seed, context.device
    torch.manual_seed(derive(seed, "rqvae", "weights"))
    network = RqVaeNetwork(
        points_NE.shape[1], settings.hidden, settings.latent_dim, settings.levels, settings.codes, settings.commitment
    ).to(device)
    points = torch.from_numpy(points_NE).to(device)
    batch_size = min(settings.batch_size, max(len(points) // _FEWEST_BATCHES, _SMALLEST_BATCH))

    def batches(epoch: int) -> list[Tensor]:
        generator = np.random.default_rng(derive(seed, "rqvae", "epoch", epoch))
        if epoch == 1 and settings.kmeans_start:
            network.start(points, generator)
        elif epoch > 1 and settings.revive:
            network.revive(points, generator)
        order = torch.from_numpy(generator.permutation(len(points))).to(device)
        return [points[rows] for rows in order.split(batch_size)]

    steps = settings.epochs * -(-len(points) // batch_size)
    optimization = OptimizationSettings(
        optimizer="adamw",
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=int(_WARMUP * steps),
        schedule="cosine",
        batch_size=batch_size,
        max_epochs=settings.epochs,
        gradient_clip=1.0,
    )
    train(network, batches, network.losses, optimization, validate=None, seed=seed, title="rqvae")
    return network.tensors()


class RqVaeNetwork(nn.Module):
    """Encoder, one codebook a level, decoder."""

    def __init__(
        self, width: int, hidden: tuple[int, ...], latent_dim: int, levels: int, codes: int, commitment: float
    ) -> None:
        super().__init__()
        widths = (width, *hidden, latent_dim)
        self.encoder, self.decoder = _perceptron(widths), _perceptron(widths[::-1])
        self.codebooks = nn.ModuleList(nn.Embedding(codes, latent_dim) for _ in range(levels))
        self.commitment = commitment

    def losses(self, points_BE: Tensor) -> dict[str, Tensor]:
        """Reconstruction (1 for the mean vector), codebook and weighted commitment loss."""
        # Half precision cannot separate near codes.
        with torch.autocast(points_BE.device.type, enabled=False):
            latent_BD = self.encoder(points_BE)
            left_BD, codebook, commitment = latent_BD, latent_BD.new_zeros(()), latent_BD.new_zeros(())
            for table_VD in self._tables():
                chosen_BD = nn.functional.embedding(_nearest(left_BD, table_VD), table_VD)
                codebook = codebook + nn.functional.mse_loss(chosen_BD, left_BD.detach())
                commitment = commitment + nn.functional.mse_loss(left_BD, chosen_BD.detach())
                left_BD = left_BD - chosen_BD.detach()
            straight_BD = latent_BD - left_BD.detach()
            reconstruction = nn.functional.mse_loss(self.decoder(straight_BD), points_BE)
        return {"reconstruction": reconstruction, "codebook": codebook, "commitment": self.commitment * commitment}

    @torch.no_grad()
    def start(self, points_NE: Tensor, generator: np.random.Generator) -> None:
        """Put each level's codes at the k-means centers of the residuals; codes beyond those, at random residuals."""
        from sklearn.cluster import KMeans

        rows = np.sort(generator.permutation(len(points_NE))[:_START_ITEMS])
        left_ND = self._encoded(points_NE[torch.from_numpy(rows).to(points_NE.device)])
        for table_VD in self._tables():
            left = left_ND.cpu().numpy()
            settings: dict[str, Any] = {
                "n_init": 1,
                "max_iter": _START_ITERATIONS,
                "random_state": int(generator.integers(2**32)),
            }
            num_clusters = min(len(table_VD), len(np.unique(left, axis=0)))
            table_VD.copy_(_random_rows(left_ND, len(table_VD), generator))
            centers = KMeans(num_clusters, **settings).fit(left).cluster_centers_
            table_VD[:num_clusters] = torch.from_numpy(centers).to(table_VD)
            left_ND = left_ND - table_VD[_nearest(left_ND, table_VD)]

    @torch.no_grad()
    def revive(self, points_NE: Tensor, generator: np.random.Generator) -> int:
        """Move the codes that no item uses to the residuals of random items; returns their number over all levels."""
        left_ND, revived = self._encoded(points_NE), 0
        for table_VD in self._tables():
            code_N = _nearest(left_ND, table_VD)
            dead = torch.bincount(code_N, minlength=len(table_VD)) == 0
            num_dead = int(dead.sum())
            if num_dead:
                table_VD[dead] = _random_rows(left_ND, num_dead, generator)
                code_N = _nearest(left_ND, table_VD)
            left_ND = left_ND - table_VD[code_N]
            revived += num_dead
        return revived

    def tensors(self) -> dict[str, np.ndarray]:
        """All weights as plain arrays."""
        found = {"codebooks": np.stack([_array(table_VD) for table_VD in self._tables()])}
        for name, network in (("encoder", self.encoder), ("decoder", self.decoder)):
            layers = [layer for layer in network if isinstance(layer, nn.Linear)]
            for number, layer in enumerate(layers):
                found[f"{name}_weight_{number}"] = _array(layer.weight)
                found[f"{name}_bias_{number}"] = _array(layer.bias)
        return found

    def _tables(self) -> Iterator[Tensor]:
        for codebook in self.codebooks:
            assert isinstance(codebook, nn.Embedding)
            yield codebook.weight

    def _encoded(self, points_NE: Tensor) -> Tensor:
        return torch.cat([self.encoder(block) for block in points_NE.split(_TRAINING_BLOCK)])


def _perceptron(widths: tuple[int, ...]) -> nn.Sequential:
    """Linear layers with ReLU between them, started so that the variance of a vector's entries stays about the same."""
    layers: list[nn.Module] = []
    for number, (inner, outer) in enumerate(pairwise(widths)):
        if number:
            layers.append(nn.ReLU())
        linear = nn.Linear(inner, outer)
        nn.init.normal_(linear.weight, std=((2.0 if number else 1.0) / inner) ** 0.5)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
    return nn.Sequential(*layers)


def _nearest(points_ND: Tensor, table_VD: Tensor) -> Tensor:
    """The nearest code of each point, (N,)."""
    with torch.no_grad():
        return (table_VD.square().sum(dim=1) - 2 * points_ND @ table_VD.T).argmin(dim=1)


def _random_rows(points_ND: Tensor, count: int, generator: np.random.Generator) -> Tensor:
    """Rows of random items, different ones if there are enough."""
    rows = np.resize(generator.permutation(len(points_ND))[:count], count)
    return points_ND[torch.from_numpy(rows).to(points_ND.device)]


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())


def _encode(points_NE: np.ndarray, codebook: Mapping[str, np.ndarray]) -> np.ndarray:
    """Latent vectors, float32 (N, latent_dim)."""
    return _through((points_NE - codebook["mean"]) / codebook["scale"], codebook, "encoder")


def _through(points_NE: np.ndarray, codebook: Mapping[str, np.ndarray], network: str) -> np.ndarray:
    """Apply all layers of the encoder or the decoder, with ReLU between them."""
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
