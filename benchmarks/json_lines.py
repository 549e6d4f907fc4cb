"""How fast, and in how much memory, a large review.json is read: ``python benchmarks/json_lines.py [GB] [--gzip]``.

Writes lines such as Yelp's into a temporary folder (in ``TMPDIR``), reads them as the dataset ``yelp`` does,
with all years and with one, and prints MB/s, peak memory and the share of the speed at which the bare bytes are read.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MB = 10**6
USERS, BUSINESSES = 1_990_000, 150_000
"""As many as in Yelp's edition of 2022."""
_ALPHABET = string.ascii_letters + string.digits + "-_"
_WORDS = 5_000
_BLOCK_LINES = 20_000


def write(path: Path, size: int, seed: int = 0) -> int:
    """Write about ``size`` bytes of reviews; returns the number of lines.

    Texts have 5 to 1,000 words (mean 95, as Yelp's), line ends, quotes and letters beyond ASCII. Their long middles
    repeat from block to block: only ids, stars and dates are read, and drawing gigabytes of words takes an hour.
    """
    rng = random.Random(seed)
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9))) for _ in range(_WORDS)]
    words += ['"great"', "caf\u00e9", "\n\n", "it's", "10/10!", "\u2026"]
    texts = [
        json.dumps(" ".join(rng.choices(words, k=min(5 + int(rng.expovariate(1 / 90)), 1_000))))
        for _ in range(_BLOCK_LINES)
    ]
    count = 0
    with path.open("wb") as file:
        while file.tell() < size:
            lines = []
            for text in texts:
                user = _id(rng.randrange(USERS) * 0x9E3779B97F4A7C15F39CC0605CEDC834)
                business = _id(int(BUSINESSES * rng.random() ** 2) * 0xC2B2AE3D27D4EB4F165667B19E3779F9)
                date = f"{rng.randint(2005, 2021)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}"
                lines.append(
                    f'{{"review_id":"{_id(rng.getrandbits(132))}","user_id":"{user}",'
                    f'"business_id":"{business}","stars":{rng.randint(1, 5)}.0,'
                    f'"useful":{rng.randint(0, 3)},"funny":0,"cool":1,"text":{text},'
                    f'"date":"{date} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}"}}\n'
                )
            file.write("".join(lines).encode())
            count += len(lines)
    return count


def _id(number: int) -> str:
    """22 characters for a number; the same number, the same id."""
    return "".join(_ALPHABET[number >> shift & 63] for shift in range(0, 132, 6))


def read(path: Path, year: int | None) -> dict[str, float]:
    """Read it in a separate process: seconds and peak memory of that process, in MB."""
    command = [sys.executable, __file__, "--read", str(path), *(() if year is None else ("--year", str(year)))]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def _read_here(path: Path, year: int | None) -> None:
    import resource

    import polars as pl

    from genrec.datasets.readers.json_lines import read_json_lines

    def keep(table: pl.DataFrame) -> pl.DataFrame:
        table = table if year is None else table.filter(pl.col("date").dt.year() == year)
        return table.select("user_id", "business_id", pl.col("date").dt.epoch("s").alias("time"))

    columns = {"user_id": pl.Categorical, "business_id": pl.Categorical, "date": pl.Datetime}
    start = time.perf_counter()
    table, _ = read_json_lines(path, columns, title=path.name, keep=keep)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    print(json.dumps({"seconds": seconds, "peak": peak, "rows": len(table), "threads": pl.thread_pool_size()}))


def bare_seconds(path: Path) -> float:
    """How long it takes to read the bytes and do nothing with them."""
    start = time.perf_counter()
    with path.open("rb", buffering=0) as file:
        while file.read(16 * 2**20):
            pass
    return time.perf_counter() - start


def main() -> None:
    """Write, read, print, remove."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("gigabytes", nargs="?", type=float, default=5.0)
    parser.add_argument("--gzip", action="store_true", help="read a packed file; MB are those of the unpacked one")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--year", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        return _read_here(arguments.read, arguments.year)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "yelp_academic_dataset_review.json"
        start = time.perf_counter()
        count = write(path, int(arguments.gigabytes * 1000 * MB))
        size = path.stat().st_size / MB
        print(f"{count:,} lines, {size:,.0f} MB, written in {time.perf_counter() - start:.0f} s")
        if arguments.gzip:
            packed = path.with_suffix(".json.gz")
            with path.open("rb") as plain, gzip.open(packed, "wb", compresslevel=6) as file:
                shutil.copyfileobj(plain, file, 2**20)
            path.unlink()
            path = packed
        for year in (None, 2019):
            bare = bare_seconds(path)
            found = read(path, year)
            print(
                f"{'all years' if year is None else year}: {found['rows']:,} reviews read, "
                f"{size / found['seconds']:.0f} MB/s, peak memory {found['peak']:,.0f} MB, {found['threads']} threads; "
                f"the bare bytes: {size / bare:,.0f} MB/s, share {bare / found['seconds']:.2f}"
            )


if __name__ == "__main__":
    main()
