"""The device is chosen once, by name."""

import pytest
import torch

from genrec.devices import choose_device, chosen_device
from genrec.errors import GenrecError


def test_devices_go_by_their_names():
    choose_device("cpu")
    assert chosen_device() == torch.device("cpu")
    choose_device("auto")
    assert chosen_device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_device_that_is_not_there_is_refused_and_not_chosen():
    with pytest.raises(GenrecError, match=r"^--device abacus: cannot be used \(.*\); expected auto, cpu, or"):
        choose_device("abacus")
    assert chosen_device().type in ("cpu", "cuda")
