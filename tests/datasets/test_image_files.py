"""Images on disk: which files count, the colors of every mode and format, and errors that name broken ones."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from genrec.datasets.readers import image_files as _image_files
from genrec.datasets.readers.image_files import ImageFiles
from genrec.errors import DataError, ImageError


def opened(path):
    return ImageFiles(path.parent, [[path.name]]).open(0)


def problem(path):
    """The kind of the error that a file raises, and its text less the path."""
    with pytest.raises(ImageError) as caught:
        opened(path)
    assert caught.value.name == path.name
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value.kind, str(caught.value).removeprefix(f"{path}: ")


def near(pixel, expected, by=6):
    return all(abs(a - b) <= by for a, b in zip(pixel, expected, strict=True))


def noise(width=64, height=64):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def test_any_number_of_images_an_item_and_only_files_that_exist(tmp_path):
    for name, color in (("a.png", "red"), ("c.png", "lime")):
        Image.new("RGB", (4, 3), color).save(tmp_path / name)
    impossible = [f"https://shop.example/{'x' * 300}.jpg", "a\0.png"]
    images = ImageFiles(tmp_path, [["a.png", "gone.png", "c.png"], impossible, ["b.png"]])
    assert images.counts_I.tolist() == [2, 0, 0]
    assert images.counts_I.dtype == np.int32
    assert [images.open(0, number).getpixel((0, 0)) for number in (0, 1)] == [(255, 0, 0), (0, 255, 0)]
    for item, number in ((0, 2), (1, 0), (2, 0)):
        with pytest.raises(DataError, match=rf"item {item} has no image {number}$"):
            images.open(item, number)


@pytest.mark.parametrize("name", ["../a.png", "/a.png", "x/../../a.png"])
def test_a_name_outside_the_folder_is_rejected(tmp_path, name):
    with pytest.raises(DataError, match="is outside of the folder; expected a path inside this folder"):
        ImageFiles(tmp_path, [["a.png"], [name]])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (2, 2), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2, 2), (255, 0, 0, 128)), (255, 127, 127)),
        (Image.new("LA", (2, 2), (0, 51)), (204, 204, 204)),
        (Image.new("L", (2, 2), 7), (7, 7, 7)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
    ],
)
def test_transparent_parts_are_white_and_gray_becomes_rgb(tmp_path, image, expected):
    image.save(tmp_path / "a.png")
    image = opened(tmp_path / "a.png")
    assert image.mode == "RGB"
    assert near(image.getpixel((0, 0)), expected, by=1)


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_a_palette_with_a_transparent_entry(tmp_path, suffix):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / f"a.{suffix}", transparency=0)
    image = opened(tmp_path / f"a.{suffix}")
    assert (image.mode, image.getpixel((0, 0)), image.getpixel((1, 0))) == ("RGB", (255,) * 3, (200, 100, 50))


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 32896, 65535]], dtype=np.uint16), [0, 128, 255]),
        (np.array([[0, 257, 514]], dtype=np.uint16), [0, 1, 2]),
    ],
)
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, suffix, values, expected):
    Image.fromarray(values).save(tmp_path / f"a.{suffix}")
    assert np.asarray(opened(tmp_path / f"a.{suffix}"))[0].tolist() == [[value] * 3 for value in expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 0.5, 1]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, 100, 255]], dtype=np.float32), [0, 100, 255]),
        (np.array([[-2, 0, 2]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0, np.nan, 1]], dtype=np.float32), [0, 0, 255]),
        (np.array([[0, 32896, 65535]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0, 50_000, 100_000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[7, 7, 7]], dtype=np.float32), [7, 7, 7]),
    ],
)
def test_floats_and_32_bits_are_scaled(tmp_path, values, expected):
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert np.asarray(opened(tmp_path / "a.tif"))[0].tolist() == [[value] * 3 for value in expected]


RED, TEAL = (254, 0, 0), (0, 140, 150)


@pytest.mark.parametrize("color", [RED, TEAL])
def test_cmyk_and_ycck_jpegs_have_their_colors(tmp_path, color):
    """Adobe writes both inverted; a YCCK file is a CMYK one whose first three channels went through YCbCr."""
    ink = tuple(255 - value for value in color)
    Image.new("CMYK", (16, 16), (*ink, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    assert near(opened(tmp_path / "cmyk.jpg").getpixel((8, 8)), color)

    luma = Image.new("RGB", (16, 16), ink).convert("YCbCr").split()
    inverted = [channel.point(lambda value: 255 - value) for channel in (*luma, Image.new("L", (16, 16), 255))]
    Image.merge("CMYK", inverted).save(tmp_path / "ycck.jpg", quality=95, subsampling=0)
    content = bytearray((tmp_path / "ycck.jpg").read_bytes())
    marker = content.index(b"Adobe")
    assert content[marker + 11] == 0
    content[marker + 11] = 2  # the color transform that the file declares: none becomes YCCK
    (tmp_path / "ycck.jpg").write_bytes(content)
    assert near(opened(tmp_path / "ycck.jpg").getpixel((8, 8)), color)


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_of_a_film_the_first_frame_is_taken(tmp_path, suffix):
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], duration=50, **options)
    with Image.open(tmp_path / f"a.{suffix}") as film:
        assert film.n_frames == 3
    assert opened(tmp_path / f"a.{suffix}").getpixel((4, 4)) == (255, 0, 0)


def test_orientation_of_the_camera_is_undone(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert opened(tmp_path / "a.jpg").size == (4, 8)


def test_damaged_camera_data_loses_no_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    damaged = bytearray(exif.tobytes())
    damaged[6:8] = b"XX"
    Image.new("RGB", (8, 4), "red").save(tmp_path / "a.jpg", exif=bytes(damaged))
    assert opened(tmp_path / "a.jpg").size == (8, 4)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 10_000), (10_000, 1)])
def test_one_pixel_and_extreme_shapes_are_opened(tmp_path, width, height):
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (width, height), "red").save(tmp_path / name)
        assert opened(tmp_path / name).size == (width, height)


def test_the_content_and_not_the_ending_says_what_it_is(tmp_path):
    Image.new("RGB", (4, 3), "red").save(tmp_path / "a.jpg", format="PNG")
    Image.new("RGB", (4, 3), "blue").save(tmp_path / "b", format="WEBP", lossless=True)
    assert opened(tmp_path / "a.jpg").getpixel((0, 0)) == (255, 0, 0)
    assert opened(tmp_path / "b").getpixel((0, 0)) == (0, 0, 255)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "gif"])
def test_a_truncated_image_is_named(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    noise().save(path)
    path.write_bytes(path.read_bytes()[:1500])
    kind, text = problem(path)
    assert kind in {"truncated", "damaged"}
    assert text.startswith("the image cannot be read (")
    assert text.endswith("); replace or remove the file")


def test_a_large_truncated_jpeg_is_found_though_it_is_decoded_small(tmp_path):
    path = tmp_path / "a.jpg"
    noise(2000, 1500).save(path)
    path.write_bytes(path.read_bytes()[:-200_000])
    assert problem(path)[0] == "truncated"


def test_files_that_are_no_images_are_named(tmp_path):
    (tmp_path / "page.jpg").write_text("<html>not found</html>")
    kind, text = problem(tmp_path / "page.jpg")
    assert kind == "not an image"
    assert text.startswith("the image cannot be read (UnidentifiedImageError")
    (tmp_path / "empty.jpg").write_bytes(b"")
    assert problem(tmp_path / "empty.jpg") == ("empty", "the image is an empty file; replace or remove the file")
    Image.new("RGB", (4, 4)).save(tmp_path / "program.jpg", format="EPS")
    assert problem(tmp_path / "program.jpg")[0] == "not an image"


def test_a_image_that_vanished_is_missing(tmp_path):
    Image.new("RGB", (4, 3)).save(tmp_path / "a.png")
    images = ImageFiles(tmp_path, [["a.png"]])
    (tmp_path / "a.png").unlink()
    with pytest.raises(ImageError) as caught:
        images.open(0)
    assert (caught.value.kind, caught.value.name) == ("missing", "a.png")


def test_a_image_that_unpacks_to_too_much_is_rejected(tmp_path, monkeypatch):
    Image.new("1", (300, 300)).save(tmp_path / "a.png")
    monkeypatch.setattr(_image_files, "MAX_PIXELS", 89_999)
    text = "the image has 300 x 300 pixels, more than 89,999; scale it down or remove the file"
    assert problem(tmp_path / "a.png") == ("too large", text)
    monkeypatch.setattr(_image_files, "MAX_PIXELS", 90_000)
    assert opened(tmp_path / "a.png").size == (300, 300)


@pytest.mark.parametrize("side", [9_000, 60_000])
@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_rejected_before_it_is_decoded(tmp_path, side):
    """Billions of pixels in some bytes: the header alone, since nothing behind it may be read."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + pixels + chunk(b"IEND", b""))
    kind, text = problem(tmp_path / "bomb.png")
    assert kind == "too large"
    assert text.endswith("pixels, more than 50,000,000; scale it down or remove the file")


@pytest.mark.parametrize(
    ("size", "expected"), [((2600, 1300), (1300, 650)), ((1279, 5000), (1279, 5000)), ((5200, 6000), (650, 750))]
)
def test_large_photos_are_decoded_at_a_fraction(tmp_path, size, expected):
    Image.linear_gradient("L").resize(size).convert("RGB").save(tmp_path / "a.jpg", quality=90)
    image = opened(tmp_path / "a.jpg")
    assert image.size == expected
    with Image.open(tmp_path / "a.jpg") as whole:
        difference = np.asarray(image.resize((32, 32)), float) - np.asarray(whole.convert("RGB").resize((32, 32)))
    assert np.abs(difference).max() < 4


def test_the_fingerprint_follows_names_sizes_and_content(tmp_path):
    from genrec.datasets.readers.fingerprint import Fingerprint

    def fingerprint(names):
        found = Fingerprint({})
        ImageFiles(tmp_path, names).add_to(found)
        return found.hexdigest()

    noise(8, 8).save(tmp_path / "a.png")
    noise(8, 8).save(tmp_path / "b.png")
    before = fingerprint([["a.png"], ["b.png"]])
    assert fingerprint([["a.png"], ["b.png"]]) == before
    assert fingerprint([["b.png"], ["a.png"]]) != before
    assert fingerprint([["a.png", "b.png"], []]) != before
    noise(9, 9).save(tmp_path / "b.png")
    assert fingerprint([["a.png"], ["b.png"]]) != before
    Image.new("RGB", (50, 50), "red").save(tmp_path / "c.bmp")
    before = fingerprint([["c.bmp"]])
    Image.new("RGB", (50, 50), "blue").save(tmp_path / "c.bmp")  # of the same size
    assert fingerprint([["c.bmp"]]) != before
