"""Whole products through `kartotek run`: what they cost beside stock pipelines, band by band, and the bare decoding.

    kartotek sample --full products
    python benchmarks/bulk.py products/*33VXG* products/*34VCM* [--rounds 2] [--only gdalwarp ...] [--workers 1]

Of each product a line a pipeline, as benchmarks/convert.py has them, summed up over the product's layers: MB are of all
its processes together, and of the one that took most. Ours does more: it checks the product, counts index squares,
makes thumbnail and item, reads all back and publishes. Last come all products by one worker and by two, as often as
--workers says: how much sooner two are done, which says something where each has as much to do as the other.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from convert import Cost, cost, pipelines  # beside this file

from converters.sensors import read

COMMAND = [sys.executable, "-c", "from kartotek.cli import main; main()"]


def ours(products: Sequence[Path], folder: Path, *, workers: int) -> tuple[Cost, float]:
    """What a run costs from nothing to published, and how long it takes."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        place = Path(name)
        given = ["--database", f"sqlite:///{place}/catalog.db", "--storage", f"{place}/store"]
        paths = [str(product.resolve()) for product in products]
        began = time.monotonic()
        found = cost([*COMMAND, "run", *paths, "--workers", str(workers), *given], place / "none")
        took = time.monotonic() - began
        written = sum(path.stat().st_size for path in (place / "store").rglob("*") if path.is_file())
        return dataclasses.replace(found, written=written), took


def stock(product: Path, folder: Path, only: list[str]) -> dict[str, Cost]:
    """Pipeline → what all layers of a product cost, one after the other; one that fails at a layer is left out."""
    total: dict[str, Cost] = {}
    layers = [layer for layer in read(product).layers if layer.type.bands or layer.type.classes]
    for layer in layers:
        out = folder / "out.tif"
        for name, command in pipelines(product, layer, out, folder, only).items():
            if name == "ours":
                continue
            out.unlink(missing_ok=True)
            one, before = cost(command, out), total.get(name, Cost(0, 0, 0, 0))
            total[name] = Cost(
                before.seconds + one.seconds,
                max(before.memory, one.memory),
                max(before.largest, one.largest),
                before.written + one.written,
            )
    return total


def report(title: str, found: dict[str, Cost]) -> None:
    """The table."""
    print(f"\n{title}, load {os.getloadavg()[0]:.1f}")
    print(f"{'':12}{'CPU s':>8}{'x decode':>10}{'MB':>7}{'one':>7}{'MB out':>8}")
    for name, one in found.items():
        ratio, megabytes = one.seconds / found["decode"].seconds, (one.memory / 1e6, one.largest / 1e6)
        print(f"{name:12}{one.seconds:8.0f}{ratio:10.2f}{megabytes[0]:7.0f}{megabytes[1]:7.0f}{one.written / 1e6:8.0f}")


def main() -> None:
    """Print a table a product and round, then one worker against two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("products", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--workers", type=int, default=0, metavar="ROUNDS")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kartotek-peers-") as name:
        folder = Path(name)
        for number in range(asked.rounds):
            for product in asked.products:
                found = stock(product, folder, asked.only)
                found["ours"], _ = ours([product], folder, workers=1)
                report(f"{product.name}, round {number + 1}", found)
        for number in range(asked.workers):
            _, alone = ours(asked.products, folder, workers=1)
            both, together = ours(asked.products, folder, workers=2)
            print(f"round {number + 1}: two workers {alone / together:.2f} x one, {both.memory / 1e6:.0f} MB in all")


if __name__ == "__main__":
    main()
