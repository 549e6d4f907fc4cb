"""What is asked of every component: its files are there, and what changes speed alone are fields of it."""

from typing import ClassVar

import pytest

from genrec.errors import ContractError, DataError
from genrec.item_encoders.tfidf import Tfidf
from genrec.runtime.environment import InputFile
from genrec.testing import check


def test_speed_only_names_fields():
    class Hasty(Tfidf):
        """Names a field that it has not."""

        speed_only: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    with pytest.raises(
        ContractError, match="the item encoder 'tfidf' breaks its contract: speed_only names fields of the component"
    ):
        check(Hasty())


def test_a_component_that_reads_files_finds_them_in_the_data_folder(tmp_path):
    class FromFile(Tfidf):
        """Reads a file beside the texts."""

        file: InputFile
        """The file."""

        def encode(self, catalog, train, *, context):
            assert context.find_file(self.file).read_text() == "here"
            return super().encode(catalog, train, context=context)

    component = FromFile.model_validate({"file": "lengths.txt"})
    (tmp_path / "lengths.txt").write_text("here")
    check(component, data=tmp_path)
    with pytest.raises(DataError, match=r"^lengths\.txt: no such file or folder, looked in "):
        check(component)
