"""Pictures on disk: what counts as one, and that broken ones are named."""

import numpy as np
import pytest
from PIL import Image

from genrec.datasets import _picture_files
from genrec.datasets._picture_files import PictureFiles
from genrec.errors import DataError


def test_only_files_that_exist_are_present(tmp_path):
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a.png")
    pictures = PictureFiles(tmp_path, ["a.png", None, "b.png"])
    assert pictures.present_I.tolist() == [True, False, False]
    assert pictures.open(0).getpixel((0, 0)) == (255, 0, 0)
    with pytest.raises(DataError, match="item 1 has no picture"):
        pictures.open(1)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png"])
def test_a_name_outside_the_folder_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="lies outside; expected a path inside this folder"):
        PictureFiles(tmp_path, [name])


def test_transparent_is_white_grey_and_palette_become_rgb(tmp_path):
    Image.new("RGBA", (2, 2), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("L", (2, 2), 7).save(tmp_path / "grey.png")
    Image.new("P", (2, 2)).save(tmp_path / "palette.gif")
    pictures = PictureFiles(tmp_path, ["clear.png", "grey.png", "palette.gif"])
    images = [pictures.open(item) for item in range(3)]
    assert [image.mode for image in images] == ["RGB"] * 3
    assert images[0].getpixel((0, 0)) == (255, 255, 255)
    assert images[1].getpixel((0, 0)) == (7, 7, 7)


def test_orientation_of_the_camera_is_undone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert PictureFiles(tmp_path, ["a.jpg"]).open(0).size == (4, 8)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_truncated_picture_is_named(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(DataError, match=rf"a\.{suffix}: the picture cannot be read"):
        PictureFiles(tmp_path, [path.name]).open(0)


def test_a_file_that_is_no_picture_is_named(tmp_path):
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"a\.jpg: the picture cannot be read \(UnidentifiedImageError"):
        PictureFiles(tmp_path, ["a.jpg"]).open(0)


def test_a_picture_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    Image.new("1", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr(_picture_files, "MAX_PIXELS", 89_999)
    with pytest.raises(DataError, match=r"a\.png: the picture has 300 x 300 pixels, more than 89,999"):
        PictureFiles(tmp_path, ["a.png"]).open(0)
    monkeypatch.setattr(_picture_files, "MAX_PIXELS", 90_000)
    assert PictureFiles(tmp_path, ["a.png"]).open(0).size == (300, 300)


def test_a_format_that_starts_another_program_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.jpg", format="EPS")
    with pytest.raises(DataError, match=r"a\.jpg: the picture cannot be read \(UnidentifiedImageError"):
        PictureFiles(tmp_path, ["a.jpg"]).open(0)
