"""Images through a backbone: results do not depend on batches, workers or interruptions; broken files are reported."""

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torchvision", reason="needs the extra genrec[vision]", exc_type=ImportError)
import torch
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Normalize, Resize, ToTensor

from genrec.errors import DataError
from genrec.item_encoders._rows import unit_rows
from genrec.item_encoders.concatenation import Concatenation
from genrec.item_encoders.images import backbone as _backbone
from genrec.item_encoders.images.backbone import Backbone, encode_images
from genrec.item_encoders.images.files import ImageList, Unreadable
from genrec.item_encoders.tfidf import Tfidf
from genrec.item_encoders.vit import Vit
from genrec.runtime.environment import WorkContext

MEAN, STD = (0.2, 0.4, 0.6), (0.5, 0.25, 0.125)
COLORS = [[(row * 3 % 256, row * 7 % 256, row * 11 % 256)] * (row % 3) for row in range(40)]
COLORS[5] = [(9, 9, 9), "broken.jpg"]
COLORS[8] = ["gone.jpg", "empty.jpg"]


class Mean(torch.nn.Module):
    """A backbone that gives the mean of each channel, and counts its images; it may be told to fail."""

    def __init__(self, fails_after: int | None = None) -> None:
        super().__init__()
        self.seen, self.fails_after = 0, fails_after

    def forward(self, pixels_BCHW):
        self.seen += len(pixels_BCHW)
        if self.fails_after is not None and self.seen > self.fails_after:
            raise KeyboardInterrupt
        return pixels_BCHW.mean((2, 3))


def backbone(module, size=8):
    return Backbone.of(module, Compose([Resize(size), CenterCrop(size), ToTensor(), Normalize(MEAN, STD)]))


def encode(catalog, module=None, *, batch_size=7, num_workers=0, folder=None):
    images, module = ImageList.of(catalog, "mean"), module or Mean()
    options = {"title": "mean", "precision": "auto", "device": torch.device("cpu"), "folder": folder}
    return encode_images(images, backbone(module), batch_size=batch_size, num_workers=num_workers, **options)


@pytest.fixture
def catalog(catalog_of, swatches):
    return catalog_of([""] * len(COLORS), swatches(COLORS))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(_backbone, "PART", 10)


def test_vectors_are_those_of_the_librarys_own_preprocessing(catalog):
    vectors_NE, read_N, unreadable = encode(catalog)
    colors = [color for of in COLORS for color in of]
    expected = [(np.array(c) / 255 - MEAN) / STD for c in colors if not isinstance(c, str)]
    assert np.allclose(vectors_NE, expected, atol=1e-5)
    assert read_N.tolist() == [not isinstance(color, str) for color in colors]
    assert [image.name for image in unreadable] == ["broken.jpg", "gone.jpg", "empty.jpg"]


@pytest.mark.parametrize(("batch_size", "num_workers"), [(1, 0), (1000, 0), (3, 2), (64, 1)])
def test_nothing_depends_on_batches_and_workers(catalog, batch_size, num_workers):
    expected, found = encode(catalog), encode(catalog, batch_size=batch_size, num_workers=num_workers)
    assert np.allclose(found[0], expected[0], atol=1e-6)
    assert np.array_equal(found[1], expected[1])
    assert found[2] == expected[2]


def test_an_interrupted_work_goes_on_where_it_was(catalog, tmp_path):
    expected, folder = encode(catalog), tmp_path / "unfinished"
    with pytest.raises(KeyboardInterrupt):
        encode(catalog, Mean(fails_after=20), folder=folder)
    kept = sorted(path.name for path in folder.iterdir())
    assert kept == ["images-00000000.safetensors", "images-00000010.safetensors"]
    module = Mean()
    found = encode(catalog, module, folder=folder, batch_size=4)
    assert module.seen == expected[1][20:].sum()
    assert np.allclose(found[0], expected[0], atol=1e-6)
    assert np.array_equal(found[1], expected[1])
    assert found[2] == expected[2]
    (folder / "images-00000010.safetensors").write_bytes(b"damaged")
    again = Mean()
    assert np.allclose(encode(catalog, again, folder=folder)[0], expected[0], atol=1e-6)
    assert again.seen == expected[1][10:20].sum()


def test_several_images_are_averaged_and_items_without_a_readable_one_are_absent(catalog):
    images = ImageList.of(catalog, "mean")
    vectors_NE, read_N, unreadable = encode(catalog)
    raw = images.mean_vectors(vectors_NE, read_N, unreadable, normalize=False)
    unit = images.mean_vectors(vectors_NE, read_N, unreadable, normalize=True)
    assert not raw.present_I[[0, 3, 8]].any()
    assert raw.present_I.sum() == sum(bool(of) for of in COLORS) - 1
    own = vectors_NE[images.item_N[read_N] == 2]
    assert len(own) == 2
    assert np.allclose(raw.vectors_IE[2], own.mean(axis=0), atol=1e-6)
    assert np.allclose(unit.vectors_IE[2], unit_rows(unit_rows(own).mean(axis=0, keepdims=True))[0], atol=1e-6)
    assert np.allclose(raw.vectors_IE[5], (np.array([9, 9, 9]) / 255 - MEAN) / STD, atol=1e-5)
    told = "3 of 40 images could not be read (3 unreadable): broken.jpg, gone.jpg, empty.jpg"
    assert raw.notes == unit.notes == (told.replace("40", str(len(images))),)


def test_of_many_broken_images_twenty_are_named(catalog_of, swatches):
    images = ImageList.of(catalog_of([""] * 30, swatches([(1, 2, 3)] * 30)), "mean")
    unreadable = [Unreadable(f"{row}.jpg", "truncated" if row % 3 else "empty") for row in range(23)]
    [note] = images.mean_vectors(np.arange(14.0).reshape(7, 2), np.arange(30) >= 23, unreadable, normalize=True).notes
    assert note.startswith("23 of 30 images could not be read (15 truncated, 8 empty): 0.jpg, 1.jpg, ")
    assert note.endswith(", 18.jpg, 19.jpg and 3 more")


class Shapes:
    """One pixel, and images that are far longer than wide, the middle black and the ends white."""

    sizes = ((1, 1), (1, 10_000), (10_000, 1), (3, 7))
    counts_I = np.ones(4, dtype=np.int32)

    def open(self, item, number=0):
        width, height = self.sizes[item]
        image = Image.new("RGB", (width, height), "white")
        image.paste("black", (width // 4, height // 4, width - width // 4, height - height // 4))
        return image if max(width, height) > 10 else Image.new("RGB", (width, height), "black")


def test_one_pixel_and_extreme_shapes_are_framed(catalog_of):
    vectors_NE, read_N, _ = encode(catalog_of([""] * 4, Shapes()))
    assert read_N.all()
    assert np.allclose(vectors_NE, -np.array(MEAN) / np.array(STD), atol=1e-5)


class Deadly:
    """Images of which one takes the process that opens it with it."""

    counts_I = np.ones(30, dtype=np.int32)

    def __init__(self) -> None:
        self.parent = os.getpid()

    def open(self, item, number=0):
        if item == 17 and os.getpid() != self.parent:
            os._exit(3)
        return Image.new("RGB", (8, 8))


def test_a_worker_that_dies_is_one_clear_error(catalog_of):
    catalog = catalog_of([""] * 30, Deadly())
    with pytest.raises(DataError, match=r"^mean: a process that reads images died, .*; set num_workers: 0"):
        encode(catalog, num_workers=1)
    assert encode(catalog, num_workers=0)[1].all()


def test_a_vector_that_is_not_finite_is_reported(catalog):
    class Broken(torch.nn.Module):
        def forward(self, pixels_BCHW):
            return pixels_BCHW.mean((2, 3)) / 0

    with pytest.raises(DataError, match=r"^mean: an image's vector is not finite; set precision: fp32"):
        encode(catalog, Broken())


def test_preprocessing_of_another_make_is_rejected():
    with pytest.raises(DataError, match=r"does not end in ToTensor and Normalize"):
        Backbone.of(Mean(), Compose([Resize(8), ToTensor()]))


@pytest.fixture
def clip_folder(tmp_path):
    pytest.importorskip("open_clip", reason="needs the extra genrec[vision]", exc_type=ImportError)
    from open_clip_files import write_open_clip

    return write_open_clip(tmp_path / "clip")


def test_an_encoder_keeps_finished_parts_and_a_concatenation_hands_the_folder_on(
    clip_folder, tmp_path, catalog_of, swatches, no_histories, monkeypatch
):
    catalog = catalog_of([f"red word{row % 5}" for row in range(len(COLORS))], swatches(COLORS))
    vit = Vit(model=str(clip_folder))
    both = Concatenation(encoders=(Tfidf(), vit, vit))
    both.prepare(catalog, context=WorkContext())
    plain = both.encode(catalog, no_histories, context=WorkContext(seed=3))
    folder = tmp_path / "unfinished"
    kept = both.encode(catalog, no_histories, context=WorkContext(seed=3, folder=folder))
    assert np.array_equal(kept.vectors_IE, plain.vectors_IE)
    assert {path.parent.name for path in folder.rglob("*.safetensors")} == {"part-1", "part-2"}
    reads = []
    monkeypatch.setattr(swatches, "open", lambda *_, **__: reads.append(1))
    again = both.encode(catalog, no_histories, context=WorkContext(seed=3, folder=folder))
    assert np.array_equal(again.vectors_IE, plain.vectors_IE)
    assert again.notes == plain.notes
    assert not reads


def test_a_concatenation_prepares_its_parts(tmp_path, catalog_of, swatches):
    catalog = catalog_of(["red", "blue"], swatches(COLORS[:2]))
    with pytest.raises(DataError, match=r"open_clip_config\.json is missing"):
        Concatenation(encoders=(Tfidf(), Vit(model=str(tmp_path)))).prepare(catalog, context=WorkContext())
    with pytest.raises(DataError, match=r"^vit: no item of this dataset has an image"):
        Concatenation(encoders=(Tfidf(), Vit(model=str(tmp_path)))).prepare(
            catalog_of(["red", "blue"]), context=WorkContext()
        )


def test_nothing_readable_at_all(clip_folder, catalog_of, swatches, no_histories):
    encoder = Vit(model=str(clip_folder))
    with pytest.raises(DataError, match=r"^vit: no item of this dataset has an image"):
        encoder.encode(catalog_of(["a"]), no_histories, context=WorkContext(seed=0))
    broken = catalog_of(["a", "b"], swatches(["broken.jpg", "gone.jpg"]))
    message = r"^vit: none of 2 images can be read \(2 unreadable\), e\.g\. broken\.jpg; check the file$"
    with pytest.raises(DataError, match=message):
        encoder.encode(broken, no_histories, context=WorkContext(seed=0))


def test_no_batch_size_changes_real_layers(clip_folder, catalog_of, swatches, no_histories):
    catalog = catalog_of([""] * len(COLORS), swatches(COLORS))
    one, many = (
        Vit(model=str(clip_folder), batch_size=size)
        .encode(catalog, no_histories, context=WorkContext(seed=0))
        .vectors_IE
        for size in (1, 64)
    )
    assert np.abs(one - many).max() < 1e-5


POSTERS = Path(__file__).parents[2] / "../shared/data/movielens-posters"


@pytest.mark.skipif(not POSTERS.is_dir(), reason="movielens-posters is not here")
def test_pixels_reads_real_posters(catalog_of, no_histories):
    from genrec.datasets.readers.image_files import ImageFiles
    from genrec.item_encoders.pixels import Pixels

    names = sorted(path.name for path in (POSTERS / "images").iterdir())[:40]
    catalog = catalog_of([""] * 40, ImageFiles(POSTERS / "images", [[name] for name in names]))
    vectors = Pixels(dim=8).encode(catalog, no_histories, context=WorkContext(seed=0))
    assert vectors.present_I.all()
    assert vectors.vectors_IE.shape == (40, 8)
