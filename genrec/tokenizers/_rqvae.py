"""The network behind ``rqvae``: its loss, where its codes start, and how unused ones come back to life."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor, nn

from genrec.runtime.environment import WorkContext
from genrec.seeds import derive
from genrec.training.settings import TrainingSettings
from genrec.training.trainer import train

if TYPE_CHECKING:
    from genrec.tokenizers.rqvae import RqVae

_START_ITEMS = 65_536
"""Items at most from which the codes start."""
_START_ITERATIONS = 20
"""k-means iterations of that start."""
_WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""
_FEWEST_BATCHES, _SMALLEST_BATCH = 32, 16
"""Batches are smaller than asked for where a pass would have fewer of them: a small catalogue needs steps too."""
_BLOCK = 16_384
"""Items that are encoded at a time without gradient."""


def trained(settings: RqVae, points_NE: np.ndarray, context: WorkContext) -> dict[str, np.ndarray]:
    """Train on standardised vectors, float32 (N, E); the weights by the names that ``RqVae.fit`` gives them."""
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
    optimisation = TrainingSettings(
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        warmup_steps=int(_WARMUP * steps),
        schedule="cosine",
        batch_size=batch_size,
        max_epochs=settings.epochs,
    )
    train(network, batches, network.losses, optimisation, validate=None, seed=seed, title="rqvae")
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
        """Reconstruction (1 is what the mean vector leaves), codebook and weighted commitment loss."""
        # Half precision cannot tell near codes apart.
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
        """Put each level's codes at the k-means centres of the residuals; codes beyond those, at random residuals."""
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
            centres = KMeans(num_clusters, **settings).fit(left).cluster_centers_
            table_VD[:num_clusters] = torch.from_numpy(centres).to(table_VD)
            left_ND = left_ND - table_VD[_nearest(left_ND, table_VD)]

    @torch.no_grad()
    def revive(self, points_NE: Tensor, generator: np.random.Generator) -> int:
        """Move the codes that no item uses to the residuals of random items; how many they were, of all levels."""
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
        return torch.cat([self.encoder(block) for block in points_NE.split(_BLOCK)])


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
    """Rows of different items as far as there are so many."""
    rows = np.resize(generator.permutation(len(points_ND))[:count], count)
    return points_ND[torch.from_numpy(rows).to(points_ND.device)]


def _array(tensor: Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.detach().float().cpu().numpy())
