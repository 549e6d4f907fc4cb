"""The folders that are searched for data, and the errors if it is missing."""

import pytest

from genrec.datasets.readers.fingerprint import Fingerprint
from genrec.datasets.readers.folder import find, leaves_folder, require
from genrec.errors import DataError
from genrec.families import datasets


def test_find_takes_the_folder_inside_data_else_data_itself(tmp_path):
    (tmp_path / "shop").mkdir()
    assert find(tmp_path, "shop") == tmp_path / "shop"
    assert find(tmp_path, "other") == tmp_path


def test_find_says_how_to_name_the_folder():
    with pytest.raises(DataError) as caught:
        find(None, "shop")
    assert str(caught.value) == (
        "dataset: no data folder for 'shop': pass --data DIR or set GENREC_DATA=DIR, where DIR/shop (or DIR itself) "
        "holds the files, or put shop or data/shop beside the recipe"
    )


def test_find_says_that_data_is_no_folder(tmp_path):
    with pytest.raises(DataError, match="nowhere: no such folder; --data or GENREC_DATA must name"):
        find(tmp_path / "nowhere", "shop")


def test_a_missing_file_is_named_with_its_source(tmp_path):
    with pytest.raises(DataError) as caught:
        require(tmp_path, "a.csv", "the prices", "ask the shop")
    assert str(caught.value) == (
        f"{tmp_path / 'a.csv'}: missing file: the prices; ask the shop, and put it there (or point --data elsewhere)"
    )


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "C:\\x", "..\\x", "\\\\host\\x"])
def test_paths_that_lead_out_are_recognized(path):
    assert leaves_folder(path)
    with pytest.raises(ValueError, match="is absolute or contains"):
        datasets.get("sequences")(folder=path)


@pytest.mark.parametrize("path", ["a.jpg", "images/a.jpg", "images/a..b.jpg", "."])
def test_paths_that_stay_inside_are_accepted(path):
    assert not leaves_folder(path)
    assert datasets.get("sequences")(folder=path).folder == path


def test_fingerprint_keeps_contents_apart():
    def of(*contents):
        fingerprint = Fingerprint({"a": 1})
        for name, content in contents:
            fingerprint.add(name, content)
        return fingerprint.hexdigest()

    assert of(("x", b"ab"), ("y", b"c")) != of(("x", b"a"), ("y", b"bc"))
    assert of(("x", b"ab")) == of(("x", b"ab")) != Fingerprint({"a": 1}).hexdigest()
    assert Fingerprint({"a": 1}).hexdigest() != Fingerprint({"a": 2}).hexdigest()
