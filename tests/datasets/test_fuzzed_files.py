"""Any bytes are a dataset or one error of the user, whichever source reads them."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genrec.dataset_audit.audit import audit
from genrec.datasets.recbole import RecBole
from genrec.datasets.sequences import Sequences
from genrec.datasets.table import Table
from genrec.datasets.yelp import Yelp
from genrec.errors import DataError

pytestmark = pytest.mark.filterwarnings("error::UserWarning", "error::polars.exceptions.PolarsWarning")

T = 1_577_836_800
HEAD = "user,item,time\n"


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
SNIPPETS = st.sampled_from(
    [
        "u",
        "v",
        "x",
        "1",
        "1.0",
        "nan",
        "",
        " ",
        str(T),
        str(1000 * T),
        "2020-01-01",
        "\n",
        "\n",
        ",",
        ",",
        '"',
        "\r",
        "\t",
        "é",
        "\ufeff",
        "\0",
    ]
)


@FUZZ
@given(parts=st.lists(SNIPPETS, max_size=40), skip=st.booleans(), data=st.data())
def test_any_text_is_a_dataset_or_one_error(tmp_path_factory, parts, skip, data):
    folder = tmp_path_factory.mktemp("any")
    content = f"{HEAD}u,x,{T}\n{''.join(parts)}".encode()
    if data.draw(st.booleans()):
        content = content.replace("é".encode(), b"\xe9")
    write(
        folder,
        {"interactions.csv": content, "items.csv": "item,title\nx,A\n1,B\n", "a.inter": content.replace(b",", b"\t")},
    )
    sources = [
        Table(core=0, broken_rows="skip" if skip else "error", items="items.csv", title="title"),
        RecBole(
            core=0, user_field="user", item_field="item", time_field="time", broken_rows="skip" if skip else "error"
        ),
    ]
    for source in sources:
        try:
            dataset = source.load(folder)
        except DataError as error:
            assert str(error).startswith(str(folder))  # noqa: PT017
        else:
            assert {finding.text for finding in dataset.findings} <= set(dataset.notes)
            assert audit(dataset).figures.interactions == len(dataset.histories.items)


JSON_PARTS = st.sampled_from(
    [
        '{"item_id": 1',
        '"item_id": 2',
        '{"item_id": NaN',
        ', "title": "A',
        '"',
        "}",
        "\n",
        "\n",
        "\\ud800",
        "1e999",
        "[",
        "é",
        "\0",
        '{"a": {}}',
    ]
)


@FUZZ
@given(parts=st.lists(JSON_PARTS, max_size=20))
def test_any_metadata_is_read_or_one_error(tmp_path_factory, parts):
    folder = tmp_path_factory.mktemp("any")
    content = "".join(parts)
    lines = [{"business_id": "1", "user_id": "u", "date": "2019-01-01"}]
    write(folder, {"sequences.txt": "u 1 2\n", "items.jsonl": f'{{"item_id": 1}}\n{content}', "photos.json": content})
    write(
        folder,
        {"review.json": "".join(map(json.dumps, lines)), "business.json": content.replace("item_id", "business_id")},
    )
    for source in (Sequences(), Yelp(core=0), Yelp(core=0, broken_lines="skip")):
        try:
            dataset = source.load(folder)
        except DataError as error:
            assert str(error).startswith(str(folder))  # noqa: PT017
        else:
            assert dataset.catalog.keys
