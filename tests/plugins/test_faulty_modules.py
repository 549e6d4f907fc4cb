"""Faulty history encoders, decoders and tasks end a run in one line with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from faulty_plugins import CONTRACT, DECODER, run, write

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("body", "place", "text"),
    [
        (
            "module.expand = lambda *a: (expand(*a) * 0.5).log_softmax(-1)",
            "class",
            f"the decoder 'faulty' {CONTRACT} expand() and forward() give every item the same log-probability; found -",
        ),
        (
            "module.expand = lambda *a: expand(*a)[..., :-1]",
            "class",
            f"the decoder 'faulty' {CONTRACT} expand() gives a column for each child of the node with the most "
            "children; found the shape (4, 1, ",
        ),
        (
            "module.forward = lambda *a, **k: None",
            "class",
            f"the decoder 'faulty' {CONTRACT} forward() gives Outputs; found NoneType",
        ),
        (
            "module.forward = lambda *a, **k: 1 / 0",
            "body",
            "the decoder 'faulty' raised ZeroDivisionError: division by zero",
        ),
        (
            "module.forward = lambda *a, **k: Outputs(None, None, None, None, None)",
            "class",
            f"the decoder 'faulty' {CONTRACT} what it gave cannot be used, because of TypeError: ",
        ),
        ("return 3", "class", f"the decoder 'faulty' {CONTRACT} build() gives a DecoderModule; found int"),
    ],
)
def test_decoder(folder: Path, capsys: pytest.CaptureFixture[str], body: str, place: str, text: str) -> None:
    lines = write(folder, DECODER.format(body=body))
    assert run(capsys, "streams.text.decoder=faulty").startswith(f"plugins/faulty.py:{lines[place]}: {text}")


def test_history_encoder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = write(
        folder,
        """
        from genrec.history_encoders.item_ids import ItemIds

        @history_encoders.register("faulty")  # class
        class Faulty(ItemIds):
            "A history encoder."

            def build(self, context):
                module = super().build(context)
                forward = module.forward
                def wrong(history_BT):
                    encoded = forward(history_BT)
                    return Encoded(encoded.states_BTD[:, :, 1:], encoded.mask_BT, encoded.is_causal)
                module.forward = wrong
                return module
        """,
    )
    error = run(capsys, "history_encoder={type: faulty, dim: 16, num_heads: 2}")
    assert error == (
        f"plugins/faulty.py:{lines['class']}: the history encoder 'faulty' {CONTRACT} states have the shape "
        "(B, T, dim); found (4, 4, 15), expected (4, 4, 16)"
    )


TASK = """
import torch

@tasks.register("faulty")  # class
class Faulty(Task):
    "A task."

    def build(self, context):
        return Module()

class Module(TaskModule):
    def forward(self, outputs):
        {body}  # body
"""


@pytest.mark.parametrize(
    ("body", "place", "text"),
    [
        ("return outputs['txt']", "body", "the task 'faulty' raised KeyError: 'txt'"),
        (
            "return outputs['text'].hidden_NLD.mean(0)",
            "class",
            f"the task 'faulty' {CONTRACT} the loss is a scalar; found the shape (2, 16)",
        ),
        ("return torch.tensor(torch.nan)", "class", f"the task 'faulty' {CONTRACT} the loss is finite; found nan"),
        ("return 0.0", "class", f"the task 'faulty' {CONTRACT} forward() gives a tensor; found float"),
    ],
)
def test_task(folder: Path, capsys: pytest.CaptureFixture[str], body: str, place: str, text: str) -> None:
    lines = write(folder, TASK.format(body=body))
    assert run(capsys, "tasks=[faulty]") == f"plugins/faulty.py:{lines[place]}: {text}"
