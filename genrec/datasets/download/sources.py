"""Published datasets: URL, size, terms of use, and the recipe block that reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class RemoteFile:
    """One file to fetch."""

    name: str
    """Name of the file at its publisher, and in the folder after a manual download."""
    url: str
    """URL; "" where the terms must be accepted in a browser."""
    gives: tuple[str, ...]
    """Files or folders that are in the dataset's folder once it is fetched and unpacked."""
    unpack: Literal["", "gzip", "archive"] = ""
    """``archive``: zip or tar, without its top folder."""
    size: int | None = None
    """Bytes; None where only the server knows it."""
    checksum: str | None = None
    """``sha256:...`` or ``md5:...`` as its publisher or other projects state it; None if unknown."""
    is_optional: bool = False


@dataclass(frozen=True)
class Source:
    """A published dataset that genrec reads."""

    name: str
    what: str
    block: Mapping[str, Any]
    """The ``dataset`` block of a recipe that reads it."""
    files: tuple[RemoteFile, ...]
    terms: str
    """Its license in words."""
    page: str
    """Where its publisher describes it."""
    users: int | None = None
    """As published, before any k-core of the block; None where it is not stated. So are the next two."""
    items: int | None = None
    interactions: int | None = None
    note: str = ""
    """Manual steps and remarks."""

    @property
    def folder(self) -> str:
        """The folder inside ``--data``."""
        return self.block["folder"]

    @property
    def size(self) -> int | None:
        """Bytes of all files that must be fetched, None where one is not known."""
        sizes = [file.size for file in self.files if not file.is_optional]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    def missing(self, data: Path) -> list[RemoteFile]:
        """The files whose content is missing."""
        return [file for file in self.files if not all(is_there(data / self.folder, name) for name in file.gives)]

    def is_found(self, data: Path) -> bool:
        """Whether all required files exist."""
        return all(file.is_optional for file in self.missing(data))


def is_there(folder: Path, name: str) -> bool:
    """Whether a file is in the folder or in one of its folders, as after unpacking by hand."""
    if (folder / name).exists():
        return True
    return folder.is_dir() and any((place / name).exists() for place in folder.iterdir() if place.is_dir())


@cache
def sources() -> dict[str, Source]:
    """All of them by name."""
    amazon = [*map(_amazon_2014, _OF_2014), *map(_amazon_2018, _OF_2018), *map(_amazon_2023, _OF_2023)]
    return {source.name: source for source in [*_S3REC, _YELP, *_MOVIELENS, *amazon]}


def recognize(folder: Path) -> dict[str, Any] | None:
    """The block that reads a folder, recognized by its files, without the key ``folder``. None if no format fits.

    Of several Amazon categories in one folder the first by name is taken.
    """
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if "sequences.txt" in names:
        return {"type": "sequences", **({} if "items.jsonl" in names else {"items_file": None})}
    if names & {"ratings.dat", "u.data"} or {"ratings.csv", "movies.csv"} <= names:
        return {"type": "movielens"}
    if names & {"yelp_academic_dataset_review.json", "yelp_dataset"}:
        return {"type": "yelp"}
    if any(name.endswith(".inter") for name in names):
        return {"type": "recbole"}
    categories = sorted(name[len("meta_") :].partition(".")[0] for name in names if name.startswith("meta_"))
    return {"type": "amazon_reviews", "category": categories[0]} if categories else None


_S3REC_COMMIT = "2a81540ae18615d88ef88227b0c066e5b74781e5"


def _s3rec(
    name: str,
    category: str,
    counts: tuple[int, int, int],
    attributes_size: int,
    size: int | None = None,
    checksum: str | None = None,
) -> Source:
    address = f"https://raw.githubusercontent.com/RUCAIBox/CIKM2020-S3Rec/{_S3REC_COMMIT}/data"
    attributes = f"{category}_item2attributes.json"
    return Source(
        name=name,
        what=f"{category.replace('_', ' ')}, prepared by S3-Rec",
        block={"type": "sequences", "folder": name},
        files=(
            RemoteFile(
                f"{category}.txt", f"{address}/{category}.txt", ("sequences.txt",), size=size, checksum=checksum
            ),
            RemoteFile(attributes, f"{address}/{attributes}", ("item2attributes.json",), size=attributes_size),
        ),
        terms="none stated by the repository; the content is Amazon's or Yelp's",
        page="https://github.com/RUCAIBox/CIKM2020-S3Rec",
        users=counts[0],
        items=counts[1],
        interactions=counts[2],
        note="histories only: texts need an items.jsonl, made from the publisher's metadata (or items_file: null)",
    )


_S3REC = (
    _s3rec(
        "amazon-beauty",
        "Beauty",
        (22_363, 12_101, 198_502),
        305_674,
        1_090_094,
        "sha256:226cce9c3105299ca0db9615d7d3fb32b3175e90da43100ae352599f0f0107b8",
    ),
    _s3rec(
        "amazon-sports",
        "Sports_and_Outdoors",
        (35_598, 18_357, 296_337),
        653_780,
        1_707_483,
        "sha256:2a095e0648872beb9982408958290f5d655db5be2911c3756b5446de9f0b8de2",
    ),
    _s3rec("amazon-toys", "Toys_and_Games", (19_412, 11_924, 167_597), 327_536),
    _s3rec(
        "yelp-2019",
        "Yelp",
        (30_431, 20_033, 316_354),
        600_360,
        1_814_224,
        "sha256:724b219106b81dd2349027da997334ddb6da9fe2f152ad6e0d97a93170f7caed",
    ),
)

_YELP = Source(
    name="yelp",
    what="Yelp Open Dataset, with photos",
    block={"type": "yelp", "folder": "yelp"},
    files=(
        RemoteFile(
            "yelp_dataset.tar",
            "",
            ("yelp_academic_dataset_business.json", "yelp_academic_dataset_review.json"),
            "archive",
        ),
        RemoteFile("yelp_photos.tar", "", ("photos.json", "photos"), "archive", is_optional=True),
    ),
    terms="Yelp's Dataset Terms of Use, to be accepted on its page: academic use, no redistribution",
    page="https://business.yelp.com/data/resources/open-dataset/",
    note="accept the terms on its page, download the JSON archive (about 4.4 GB) and, for images, the photos (about "
    "7.5 GB); unpack the outer zip files",
)

_GROUPLENS = "research only, cite it, no commercial use without permission"


def _movielens(
    name: str, counts: tuple[int, int, int], gives: tuple[str, ...], size: int, checksum: str, *, is_shareable: bool
) -> Source:
    sharing = "may be passed on under the same terms" if is_shareable else "no redistribution without permission"
    return Source(
        name=name,
        what=f"MovieLens {name.removeprefix('ml-').replace('-', ' ')}",
        block={"type": "movielens", "folder": name},
        files=(
            RemoteFile(
                f"{name}.zip",
                f"https://files.grouplens.org/datasets/movielens/{name}.zip",
                gives,
                "archive",
                size,
                checksum,
            ),
        ),
        terms=f"GroupLens: {_GROUPLENS}, {sharing}",
        page="https://grouplens.org/datasets/movielens/",
        users=counts[0],
        items=counts[1],
        interactions=counts[2],
        note="a development set that GroupLens may change" if name == "ml-latest-small" else "",
    )


_CSV_FILES = ("ratings.csv", "movies.csv", "tags.csv")
_MOVIELENS = (
    _movielens(
        "ml-100k",
        (943, 1_682, 100_000),
        ("u.data", "u.item", "u.genre"),
        4_924_029,
        "sha256:50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
        is_shareable=False,
    ),
    _movielens(
        "ml-1m",
        (6_040, 3_706, 1_000_209),
        ("ratings.dat", "movies.dat"),
        5_917_549,
        "sha256:a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
        is_shareable=False,
    ),
    _movielens(
        "ml-10m",
        (69_878, 10_677, 10_000_054),
        ("ratings.dat", "movies.dat", "tags.dat"),
        65_566_137,
        "md5:ce571fd55effeba0271552578f2648bd",
        is_shareable=False,
    ),
    _movielens(
        "ml-20m",
        (138_493, 26_744, 20_000_263),
        _CSV_FILES,
        198_702_078,
        "sha256:96f243c338a8665f6bcc89c53edf6ee39162a846940de6b7c8c48aeada765ff3",
        is_shareable=True,
    ),
    _movielens(
        "ml-25m",
        (162_541, 59_047, 25_000_095),
        _CSV_FILES,
        261_978_986,
        "sha256:8b21cfb7eb1706b4ec0aac894368d90acf26ebdfb6aced3ebd4ad5bd1eb9c6aa",
        is_shareable=True,
    ),
    _movielens(
        "ml-32m",
        (200_948, 84_432, 32_000_204),
        _CSV_FILES,
        238_950_008,
        "md5:d472be332d4daa821edc399621853b57",
        is_shareable=True,
    ),
    _movielens(
        "ml-latest-small",
        (610, 9_724, 100_836),
        _CSV_FILES,
        978_202,
        "sha256:696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        is_shareable=True,
    ),
)

_AMAZON_TERMS = "none stated; published for research by McAuley's group at UCSD, to be cited; the content is Amazon's"
_UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data"
_Category = tuple[str, int | None, int | None, int]
"""Name in the files, users, items, reviews."""


def _amazon(year: int, category: _Category, files: tuple[RemoteFile, ...], page: str, note: str) -> Source:
    label, users, items, interactions = category
    name = f"amazon-{year}-{label.lower().replace('_', '-')}"
    return Source(
        name=name,
        what=f"Amazon {year}, {label.replace('_', ' ')}",
        block={"type": "amazon_reviews", "folder": name, "category": label, "edition": year},
        files=files,
        terms=_AMAZON_TERMS,
        page=page,
        users=users,
        items=items,
        interactions=interactions,
        note=note,
    )


def _as_named(url: str) -> RemoteFile:
    name = url.rpartition("/")[2]
    return RemoteFile(name, url, (name,))


def _amazon_2014(category: _Category) -> Source:
    folder = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
    files = (f"{folder}/reviews_{category[0]}_5.json.gz", f"{folder}/meta_{category[0]}.json.gz")
    note = "timestamps are days: most ties are broken by the place in the file"
    return _amazon(2014, category, tuple(map(_as_named, files)), f"{_UCSD}/amazon/index_2014.html", note)


def _amazon_2018(category: _Category) -> Source:
    folder = f"{_UCSD}/amazon_v2"
    files = (
        f"{folder}/categoryFilesSmall/{category[0]}_5.json.gz",
        f"{folder}/metaFiles2/meta_{category[0]}.json.gz",
    )
    note = "timestamps are days: most ties are broken by the place in the file"
    return _amazon(2018, category, tuple(map(_as_named, files)), "https://nijianmo.github.io/amazon/", note)


def _amazon_2023(category: _Category) -> Source:
    folder, label = f"{_UCSD}/amazon_2023", category[0]
    reviews = RemoteFile(
        f"{label}.csv.gz",
        f"{folder}/benchmark/5core/rating_only/{label}.csv.gz",
        (f"{label}.csv",),
        "gzip",
        checksum=_SHA256_OF_2023.get(label),
    )
    files = (reviews, _as_named(f"{folder}/raw/meta_categories/meta_{label}.jsonl.gz"))
    note = "counts as published, rounded"
    return _amazon(2023, category, files, "https://amazon-reviews-2023.github.io/data_processing/5core.html", note)


_OF_2014: tuple[_Category, ...] = (
    ("Amazon_Instant_Video", None, None, 37_126),
    ("Apps_for_Android", None, None, 752_937),
    ("Automotive", None, None, 20_473),
    ("Baby", None, None, 160_792),
    ("Beauty", 22_363, 12_101, 198_502),
    ("Books", None, None, 8_898_041),
    ("CDs_and_Vinyl", None, None, 1_097_592),
    ("Cell_Phones_and_Accessories", None, None, 194_439),
    ("Clothing_Shoes_and_Jewelry", None, None, 278_677),
    ("Digital_Music", None, None, 64_706),
    ("Electronics", None, None, 1_689_188),
    ("Grocery_and_Gourmet_Food", None, None, 151_254),
    ("Health_and_Personal_Care", None, None, 346_355),
    ("Home_and_Kitchen", None, None, 551_682),
    ("Kindle_Store", None, None, 982_619),
    ("Movies_and_TV", None, None, 1_697_533),
    ("Musical_Instruments", None, None, 10_261),
    ("Office_Products", None, None, 53_258),
    ("Patio_Lawn_and_Garden", None, None, 13_272),
    ("Pet_Supplies", None, None, 157_836),
    ("Sports_and_Outdoors", 35_598, 18_357, 296_337),
    ("Tools_and_Home_Improvement", None, None, 134_476),
    ("Toys_and_Games", 19_412, 11_924, 167_597),
    ("Video_Games", None, None, 231_780),
)

_OF_2018: tuple[_Category, ...] = (
    ("AMAZON_FASHION", None, None, 3_176),
    ("All_Beauty", None, None, 5_269),
    ("Appliances", None, None, 2_277),
    ("Automotive", None, None, 1_711_519),
    ("Books", None, None, 27_164_983),
    ("CDs_and_Vinyl", None, None, 1_443_755),
    ("Cell_Phones_and_Accessories", None, None, 1_128_437),
    ("Clothing_Shoes_and_Jewelry", None, None, 11_285_464),
    ("Digital_Music", None, None, 169_781),
    ("Electronics", None, None, 6_739_590),
    ("Grocery_and_Gourmet_Food", None, None, 1_143_860),
    ("Home_and_Kitchen", None, None, 6_898_955),
    ("Kindle_Store", None, None, 2_222_983),
    ("Luxury_Beauty", None, None, 34_278),
    ("Magazine_Subscriptions", None, None, 2_375),
    ("Movies_and_TV", None, None, 3_410_019),
    ("Pet_Supplies", None, None, 2_098_325),
    ("Software", None, None, 12_805),
    ("Sports_and_Outdoors", None, None, 2_839_940),
    ("Tools_and_Home_Improvement", None, None, 2_070_831),
    ("Toys_and_Games", None, None, 1_828_971),
    ("Video_Games", None, None, 497_577),
)

_OF_2023: tuple[_Category, ...] = (
    ("All_Beauty", 253, 356, 2_500),
    ("Arts_Crafts_and_Sewing", 197_300, 90_000, 1_800_000),
    ("Automotive", 632_100, 267_300, 6_100_000),
    ("Baby_Products", 150_800, 36_000, 1_200_000),
    ("Beauty_and_Personal_Care", 729_600, 207_600, 6_600_000),
    ("Books", 776_400, 495_100, 9_500_000),
    ("CDs_and_Vinyl", 123_900, 89_400, 1_600_000),
    ("Cell_Phones_and_Accessories", 381_000, 111_500, 2_800_000),
    ("Clothing_Shoes_and_Jewelry", 2_500_000, 715_000, 23_100_000),
    ("Electronics", 1_600_000, 368_200, 15_500_000),
    ("Grocery_and_Gourmet_Food", 404_800, 132_900, 3_900_000),
    ("Health_and_Household", 796_100, 184_300, 7_200_000),
    ("Home_and_Kitchen", 2_900_000, 763_600, 28_200_000),
    ("Industrial_and_Scientific", 51_000, 25_800, 412_900),
    ("Kindle_Store", 892_200, 466_600, 16_100_000),
    ("Movies_and_TV", 657_200, 197_900, 7_400_000),
    ("Musical_Instruments", 57_400, 24_600, 511_800),
    ("Office_Products", 223_300, 77_600, 1_800_000),
    ("Patio_Lawn_and_Garden", 416_600, 133_400, 3_400_000),
    ("Pet_Supplies", 594_800, 114_600, 5_300_000),
    ("Software", 146_400, 17_600, 1_300_000),
    ("Sports_and_Outdoors", 409_800, 156_200, 3_500_000),
    ("Tools_and_Home_Improvement", 842_000, 274_700, 7_900_000),
    ("Toys_and_Games", 432_300, 162_000, 3_900_000),
    ("Video_Games", 94_800, 25_600, 814_600),
)

_SHA256_OF_2023 = {
    "CDs_and_Vinyl": "sha256:53811902ffb01eb22da31a35e0775f3b8351baebe7e1ab38b85b6c4aee689c20",
    "Video_Games": "sha256:a2bde5f3b945960d161538c200dd87845e6ee471b46da96410dde61613c6901c",
}
"""As stated by projects that use them; two agree on Video_Games."""
