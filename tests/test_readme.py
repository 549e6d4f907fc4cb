"""The README's own-data lines, as a user types them, on a shop with dirty rows."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

import pytest

import genrec
from genrec.cli import main

pytestmark = pytest.mark.slow

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SECTION = README[README.index("## Your own data") : README.index("## Streams")]
PRODUCTS = 40
CUSTOMERS = 120


def block(language: str) -> str:
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.DOTALL | re.MULTILINE)
    return found


@pytest.fixture(name="shop")
def _shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_registry: None) -> Path:
    """A working folder with ``shop.yaml`` and ``my-shop/``.

    Orders have two formats of dates, exact duplicates and two rows that cannot be read; goods have missing titles and
    products that were never sold.
    """
    monkeypatch.delenv("GENREC_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    draw = random.Random(1)
    orders = []
    for customer in range(CUSTOMERS):
        product, day = draw.randrange(PRODUCTS), draw.randrange(20)
        for _ in range(draw.randint(6, 10)):
            year, month, of_month = 2024, 1 + day // 28, 1 + day % 28
            date = f"{year}-{month:02}-{of_month:02}" if customer % 2 else f"{of_month:02}.{month:02}.{year}"
            orders.append(f"c{customer},sku-{product},{date}")
            product, day = (product + draw.choice([1, 1, 1, 2, 5])) % PRODUCTS, day + draw.randint(1, 20)
    broken = ["c1,sku-1,yesterday", "c2,,2024-02-01"]
    rows = ["customer,sku,date", *orders, *orders[:7], *broken]
    goods = ["sku,name,brand,category"]
    names = {17: "Oak desk", 4: "Desk lamp"}
    for product in range(PRODUCTS + 5):  # the last five were never sold
        name = "" if product % 10 == 9 else names.get(product, f"Chair no. {product}")
        goods.append(f'sku-{product},"{name}",{["Holm", "Berg"][product % 2]},{"Office" if product < 20 else "Home"}')
    (tmp_path / "my-shop").mkdir()
    (tmp_path / "my-shop" / "orders.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "my-shop" / "goods.csv").write_text("\n".join(goods) + "\n", encoding="utf-8")
    (tmp_path / "shop.yaml").write_text(block("yaml"), encoding="utf-8")
    return tmp_path


def test_own_data_from_the_command_line(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line.partition("#")[0].strip() for line in block("sh").splitlines()]
    audit, run, recommend = lines
    assert main(shlex.split(audit)[1:]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    for text in ("7 of 976 interactions", "2 broken rows of orders.csv were skipped", "dates 2024-01-01 to 2024-05-26"):
        assert text in printed, printed
    assert main(shlex.split(run)[1:]) == 0
    report = (shop / "runs" / "shop" / "report.md").read_text(encoding="utf-8")
    protocol = json.loads((shop / "runs" / "shop" / "metrics.json").read_text(encoding="utf-8"))["protocol"]
    assert protocol["users"] == CUSTOMERS
    assert protocol["items"] == PRODUCTS + 5, "never-sold products are cold items"
    assert "2 broken rows of orders.csv were skipped" in report
    capsys.readouterr()
    assert main([*shlex.split(recommend)[1:], "--json"]) == 0
    recommended = json.loads(capsys.readouterr().out)
    assert len(recommended) == 10
    assert {"sku-17", "sku-4"}.isdisjoint(item["key"] for item in recommended)


def test_own_data_from_python(shop: Path) -> None:
    names: dict[str, object] = {}
    exec(block("python"), names)  # the README's own lines
    run = names["run"]
    assert isinstance(run, genrec.Run)
    assert run.recipe.training.max_epochs == 20
    assert len(list((shop / "runs").glob("compare-*/comparison.html"))) == 1
