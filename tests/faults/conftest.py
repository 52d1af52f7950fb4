"""What the faults are tried on."""

import dataclasses
import shutil

import pytest

from converters import sensors
from converters.convert import Recipe, convert


@pytest.fixture(scope="session")
def converted(small_products, tmp_path_factory):
    """A small product with two of its files."""
    whole = convert(
        sensors.read(next(small_products.glob("*T34WET*"))), tmp_path_factory.mktemp("whole"), Recipe(threads=1)
    )
    folder, item = tmp_path_factory.mktemp("two"), whole.item.clone()
    for name in list(item.assets):
        if name in ("SCL", "squares"):
            shutil.copy(whole.folder / item.assets[name].href, folder)
        else:
            del item.assets[name]
    return dataclasses.replace(whole, item=item, folder=folder)
