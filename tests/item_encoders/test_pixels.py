"""Thumbnails: similar images are close, missing ones absent, several averaged, unreadable ones counted."""

import numpy as np
import pytest

from genrec.errors import DataError
from genrec.item_encoders.pixels import Pixels
from genrec.runtime.environment import WorkContext

COLORS = [(250, 0, 0), (230, 10, 0), (0, 0, 250), None, "p4.jpg: not an image", (0, 20, 220)]


def test_like_images_are_close(catalog_of, swatches, no_histories):
    catalog = catalog_of([""] * 6, swatches(COLORS))
    vectors = Pixels().encode(catalog, no_histories, context=WorkContext(seed=0))
    assert vectors.present_I.tolist() == [True, True, True, False, False, True]
    assert vectors.notes == ("1 of 5 images could not be read (1 unreadable): p4.jpg: not an image",)
    distance = np.linalg.norm(vectors.vectors_IE[:, None] - vectors.vectors_IE[None], axis=2)
    assert distance[0, 1] < distance[0, 2] / 3
    assert distance[2, 5] < distance[0, 5] / 3
    assert np.array_equal(
        vectors.vectors_IE, Pixels().encode(catalog, no_histories, context=WorkContext(seed=9)).vectors_IE
    )


def test_distances_are_those_of_the_thumbnails(catalog_of, swatches, no_histories):
    vectors = (
        Pixels(size=4)
        .encode(catalog_of([""] * 6, swatches(COLORS)), no_histories, context=WorkContext(seed=0))
        .vectors_IE
    )
    expected = np.linalg.norm((np.array(COLORS[0]) - np.array(COLORS[2])) / 255) * 4
    assert np.linalg.norm(vectors[0] - vectors[2]) == pytest.approx(expected, rel=1e-5)


def test_images_of_an_item_are_averaged(catalog_of, swatches, no_histories):
    colors = [[(200, 0, 0), (0, 100, 0)], (100, 50, 0), (0, 0, 90), [(30, 30, 30), "broken"], (30, 30, 30)]
    vectors = (
        Pixels().encode(catalog_of([""] * 5, swatches(colors)), no_histories, context=WorkContext(seed=0)).vectors_IE
    )
    assert np.allclose(vectors[0], vectors[1], atol=1e-6)
    assert np.allclose(vectors[3], vectors[4], atol=1e-6)
    assert np.linalg.norm(vectors[0] - vectors[2]) > 1


def test_no_image_at_all_is_an_error(catalog_of, swatches, no_histories):
    with pytest.raises(DataError, match=r"^pixels: no item of this dataset has an image; choose an item encoder"):
        Pixels().encode(catalog_of(["a", "b"]), no_histories, context=WorkContext(seed=0))
    with pytest.raises(
        DataError, match=r"^pixels: none of 2 images can be read \(2 unreadable\), e\.g\. broken; check the file$"
    ):
        Pixels().encode(
            catalog_of(["a", "b"], swatches(["broken", "broken"])), no_histories, context=WorkContext(seed=0)
        )
