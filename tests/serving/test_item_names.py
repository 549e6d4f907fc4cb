"""Names of items: keys, titles regardless of upper and lower case, and several names in one text."""

import pytest

from genrec.errors import DataError
from genrec.serving.item_names import ItemNames


def message(names: ItemNames, name: str) -> str:
    with pytest.raises(DataError) as caught:
        names.row(name)
    return str(caught.value)


def test_a_title_of_several_items_asks_for_a_key() -> None:
    names = ItemNames(["item-1", "item-2", "item-3"], ["Tin box", "tin BOX", "Tin boxes"])
    assert message(names, "tin box") == "'tin box': 2 items have this title; use a key: item-1, item-2"
    assert names.row("TIN BOXES") == 2
    assert names.row("item-2") == 1


def test_a_message_lists_some_of_many_items() -> None:
    names = ItemNames([f"item-{number}" for number in range(1000)], ["Gift card"] * 1000)
    assert message(names, "gift card").endswith("item-48, item-49, ...")


def test_case_matters_only_where_keys_differ_in_it() -> None:
    names = ItemNames(["Item-2", "ITEM-3", "item-3"], ["", "", ""])
    assert names.row("ITEM-2") == names.row("Item-2") == 0
    assert (names.row("ITEM-3"), names.row("item-3")) == (1, 2)
    assert message(names, "Item-3") == "'Item-3': 2 items have this key; write it exactly: ITEM-3, item-3"


def test_names_are_separated_by_commas_unless_a_name_has_them() -> None:
    names = ItemNames(["a,1", "b", "c", "d"], ["Desk", "Desk, oak", "Oak", "Lamp, small, red"])
    assert list(names.rows_in("desk, OAK")) == [1], "the longest name comes first"
    assert list(names.rows_in("A,1")) == [0]
    assert list(names.rows_in("oak,desk")) == [2, 0]
    assert list(names.rows_in("a,1,lamp, small, red , desk,oak,")) == [0, 3, 0, 2]
    assert list(names.rows_in(",")) == []
    with pytest.raises(DataError, match=r"^'lamp': no item has this key or title, .* did you mean 'Lamp, small, red'"):
        list(names.rows_in("oak, lamp"))
    with pytest.raises(DataError, match=r"^'': no item has this key or title, expected one of 4 items"):
        list(names.rows_in(""))
    assert list(names.rows_in("b,a,1," * 3000)) == [1, 0] * 3000, "in linear time"
