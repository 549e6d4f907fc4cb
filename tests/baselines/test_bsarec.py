"""BSARec: its filter against a Fourier transform, its layer against the equations, its control, and what it learns."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from genrec.baselines.bsarec import Bsarec
from genrec.baselines.sasrec import Sasrec
from genrec.evaluation.metrics import mean_ndcg, recall, target_ranks
from genrec.model.frequency_layers import FrequencyFilter
from genrec.model.layers import init_weights
from genrec.runtime.environment import WorkContext
from genrec.testing import check, clockwork, tiny_catalog, tiny_histories

QUICK = {"dim": 16, "dropout": 0.1, "max_history": 6, "learning_rate": 0.01, "warmup_steps": 5, "batch_size": 8}


def module_of(**changes):
    torch.manual_seed(0)
    module = Bsarec(**{"max_history": 6, "num_frequencies": 2} | changes).network(9, dim=8, dropout=0.5)
    init_weights(module, std=1.0)
    return module.eval()


@pytest.mark.parametrize("alpha", [0.7, 0])
def test_it_keeps_the_contract_of_baselines(alpha):
    check(Bsarec(**QUICK, max_epochs=2, alpha=alpha))


@pytest.mark.parametrize("max_history", [6, 7])
@pytest.mark.parametrize("num_frequencies", [1, 2, 4])
@pytest.mark.parametrize("length", [1, 4, 6])
def test_the_filter_is_that_of_a_fourier_transform_of_the_history_padded_at_either_end(
    max_history, num_frequencies, length
):
    torch.manual_seed(0)
    frequencies, x_TD = FrequencyFilter(3, max_history, num_frequencies), torch.randn(length, 3)
    for start in (0, max_history - length):
        padded_ND = np.zeros((max_history, 3))
        padded_ND[start : start + length] = x_TD
        spectrum_FD = np.fft.rfft(padded_ND, axis=0)
        spectrum_FD[num_frequencies:] = 0
        low_ND = np.fft.irfft(spectrum_FD, n=max_history, axis=0)
        expected_ND = low_ND + frequencies.factor_D.detach().numpy() ** 2 * (padded_ND - low_ND)
        found_TD = frequencies(x_TD[None])[0].detach().numpy()
        np.testing.assert_allclose(found_TD, expected_ND[start : start + length], atol=1e-5)


def test_the_layer_is_that_of_the_equations():
    layer = module_of(alpha=0.3).layers[0]
    x_BTD = torch.randn(2, 5, 8)
    attended = layer.attention(x_BTD, layer.attention.keys_values(x_BTD), is_causal=True)
    filtered = layer.frequencies(x_BTD)
    mixed = 0.3 * functional.layer_norm(x_BTD + filtered, (8,)) + 0.7 * functional.layer_norm(x_BTD + attended, (8,))
    expected = functional.layer_norm(mixed + layer.feedforward(mixed), (8,))
    torch.testing.assert_close(layer(x_BTD, is_causal=True), expected)


def test_padding_changes_no_state_and_later_items_do():
    module = module_of()
    short, padded = module(torch.tensor([[3, 1]])), module(torch.tensor([[3, 1, 9, 9]]))
    torch.testing.assert_close(padded[:, :2], short)
    one, other = (module.last_states(torch.tensor([[3, 1, 9], [2, 4, last]])) for last in (5, 6))
    torch.testing.assert_close(one[0], other[0])
    assert not torch.allclose(one[1], other[1])
    first = module_of(num_layers=1)
    one, other = (first(torch.tensor([[2, last, 4]]))[0, 0] for last in (5, 6))
    assert not torch.allclose(one, other), "the frequency layer reads the whole sample"


def test_without_the_frequency_layer_it_is_sasrec():
    torch.manual_seed(0)
    ours = Bsarec(alpha=0).network(9, dim=8, dropout=0.5).eval()
    torch.manual_seed(0)
    theirs = Sasrec().network(9, dim=8, dropout=0.5).eval()
    history_BT = torch.tensor([[3, 1, 4], [1, 5, 9]])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    torch.testing.assert_close(ours(history_BT), theirs(history_BT))


def test_it_learns_a_certain_next_item():
    data = clockwork(num_items=40, rounds=3).dataset

    def validate(fitted):
        return mean_ndcg(fitted.rank(data.valid.histories, top_n=10, exclude_seen=False), data.valid.targets)

    baseline = Bsarec(**QUICK, max_epochs=6)
    fitted = baseline.fit_validated(data.catalog, data.train, context=WorkContext(1), validate=validate)
    ranking = fitted.rank(data.test.histories, top_n=5, exclude_seen=False)
    assert recall(target_ranks(ranking, data.test.targets), 1).mean() > 0.9


def test_impossible_settings_are_refused():
    with pytest.raises(ValueError, match="samples: found 'all_positions', expected 'prefixes' unless alpha is 0"):
        Bsarec(samples="all_positions")
    assert Bsarec(samples="all_positions", alpha=0).samples == "all_positions"
    with pytest.raises(ValueError, match="num_frequencies: found 5, expected at most 4: histories of 6 items"):
        Bsarec(max_history=6, num_frequencies=5)
    with pytest.raises(ValueError, match="dim 9 is not a multiple of num_heads 2"):
        Bsarec(dim=9)
    with pytest.raises(ValueError, match="bsarec: 2 combinations, and no validation users to choose by"):
        Bsarec(dropout=(0.1, 0.2)).fit(tiny_catalog(), tiny_histories(), context=WorkContext(seed=1))
