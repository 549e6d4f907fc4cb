"""A small random decoder whose logits depend on the user and on the whole path, and its brute force in plain NumPy."""

from dataclasses import dataclass

import numpy as np
import torch

from genrec.model.contracts import DecoderModule, Encoded, Outputs
from genrec.search.exact import score_leaves
from genrec.search.prefixes import as_list
from genrec.search.top import top
from genrec.semantic_ids.trie import Trie
from genrec.types import SemanticIds

DIM = 4


def random_ids(seed, *, num_items, num_levels, num_codes, absent=0):
    """Distinct random codes; some items without any."""
    rng = np.random.default_rng(seed)
    numbers = rng.choice(num_codes**num_levels, size=num_items, replace=False)
    codes_IL = np.stack(np.unravel_index(numbers, (num_codes,) * num_levels), axis=1).astype(np.int32)
    codes_IL[rng.choice(num_items, size=absent, replace=False)] = -1
    return SemanticIds(codes_IL, (num_codes,) * num_levels)


def encode(user_BD):
    """B users with one state each."""
    states_BTD = torch.as_tensor(user_BD, dtype=torch.float32)[:, None, :]
    return Encoded(states_BTD, torch.ones(states_BTD.shape[:2], dtype=torch.bool), is_causal=False)


def random_users(seed, num_users):
    return encode(np.random.default_rng(seed).normal(size=(num_users, DIM)))


@dataclass
class WalkState:
    states_BKD: torch.Tensor

    def rows(self, index):
        return WalkState(self.states_BKD[index])


class WalkDecoder(DecoderModule):
    """The state of a prefix is the tanh of its parent's state plus its node's vector; children are scored against it.

    The states live in a cache that :meth:`expand` reorders by ``origin_BK``: a wrong origin gives wrong numbers.
    """

    def __init__(self, trie: Trie, seed: int, scale: float = 1.5) -> None:
        super().__init__()
        rng = np.random.default_rng(seed)
        self.trie = trie
        self.inputs, self.outputs = (
            [(scale * rng.normal(size=(trie.num_nodes(d + 1), DIM))).astype(np.float32) for d in range(trie.num_levels)]
            for _ in range(2)
        )
        self.expanded = []

    def begin(self, encoded):
        return WalkState(encoded.states_BTD[:, :1])

    def expand(self, state, depth, nodes_BK, origin_BK):
        assert not self.training
        assert nodes_BK.shape == origin_BK.shape
        self.expanded.append(tuple(nodes_BK.shape))
        parents_BKD = state.states_BKD
        if depth > 0:
            parents_BKD = parents_BKD.gather(1, origin_BK[:, :, None].expand(-1, -1, DIM))
            vectors = torch.from_numpy(self.inputs[depth - 1])
            parents_BKD = torch.tanh(parents_BKD + vectors[nodes_BK])
        if depth + 1 < self.trie.num_levels:
            state.states_BKD = parents_BKD
        width = self.trie.max_children(depth)
        starts = torch.from_numpy(self.trie.child_start[depth])
        children_BKC = starts[nodes_BK][:, :, None] + torch.arange(width)
        is_child_BKC = children_BKC < starts[nodes_BK + 1][:, :, None]
        vectors_BKCD = torch.from_numpy(self.outputs[depth])[children_BKC.clamp_max(len(self.outputs[depth]) - 1)]
        logits_BKC = (vectors_BKCD * parents_BKD[:, :, None]).sum(-1).masked_fill(~is_child_BKC, -torch.inf)
        return logits_BKC.log_softmax(-1)

    def forward(self, encoded, target_BQ, *, all_positions=False, with_summary=False):
        user, query = (target_BQ >= 0).nonzero(as_tuple=True)
        target_N = target_BQ[user, query]
        assert len(target_N)
        present_N = torch.from_numpy(self.trie.nodes_IL[:, 0] >= 0)[target_N]
        rows = [
            self.log_probs_of(encoded.states_BTD[u, 0].double().numpy(), int(i)) if p else [0.0] * self.trie.num_levels
            for u, i, p in zip(user, target_N, present_N, strict=True)
        ]
        log_probs_NL = torch.tensor(np.array(rows), dtype=torch.float32)
        return Outputs(log_probs_NL, torch.zeros(*log_probs_NL.shape, DIM), None, present_N, target_N)

    def log_probs_of(self, user_D, item):
        """Brute force, one code after the other."""
        found, node, hidden_D = [], 0, user_D
        for depth in range(self.trie.num_levels):
            if depth > 0:
                hidden_D = np.tanh(hidden_D + self.inputs[depth - 1][node].astype(np.float64))
            children = np.arange(*self.trie.child_start[depth][node : node + 2])
            logits = self.outputs[depth][children].astype(np.float64) @ hidden_D
            target = self.trie.nodes_IL[item, depth]
            found.append(logits[children == target].item() - np.log(np.exp(logits - logits.max()).sum()) - logits.max())
            node = target
        return found

    def brute_force(self, encoded):
        """log_probs_BI in float64, -inf for items without codes."""
        users_BD = encoded.states_BTD[:, 0].double().numpy()
        log_probs_BI = np.full((len(users_BD), len(self.trie.nodes_IL)), -np.inf)
        for row, user_D in enumerate(users_BD):
            for item in self.trie.item_of_leaf:
                log_probs_BI[row, item] = sum(self.log_probs_of(user_D, item))
        return log_probs_BI


def score_all(decoder, encoded, trie):
    """log_probs_BI of the exact search, -inf for items without codes."""
    log_probs_BM = score_leaves(decoder, encoded, trie)
    log_probs_BI = log_probs_BM.new_full((len(log_probs_BM), len(trie.nodes_IL)), -torch.inf)
    log_probs_BI[:, trie.item_of_leaf] = log_probs_BM
    return log_probs_BI


def best_items(log_probs_BI, trie, *, list_length):
    """The items and log-probabilities of a list, ties in the order of the leaves."""
    log_probs_BM = log_probs_BI[:, trie.item_of_leaf]
    best_BN = top(log_probs_BM, torch.arange(len(trie.item_of_leaf)).expand_as(log_probs_BM), list_length)
    return as_list(trie.on(log_probs_BI.device), best_BN, log_probs_BM.gather(1, best_BN), list_length)
