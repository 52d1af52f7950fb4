import dataclasses
import functools
import hashlib
import pickle
from pathlib import Path

import pytest

from converters import samples
from converters.convert import Recipe, convert
from converters.sensors import read

# The standard set of `kartotek sample`, by the zone and what it is there for.
NAMES = (
    "33 before",  # 2021, before baseline 04.00 moved the numbers; else as "33"
    "33",
    "33 L1C",
    "33 spring",  # reflectances below zero; a folder without suffix
    "34",  # the ground of "33"
    "32",
    "33 west",  # the ground of "32"
    "34 east",
    "35",  # the ground of "34 east"
    "swath",
    "zip",
    "bare zip",
)
BESIDE = Path(__file__).resolve().parents[2].parent / "shared"


@pytest.fixture(scope="session")
def scenes():
    """The scenes of the standard set by name, cut down to 6 km where a swath's edge isn't cut away by that."""
    small = (scene if scene.swath else dataclasses.replace(scene, pixels=600) for scene in samples.scenes())
    return dict(zip(NAMES, small, strict=True))


def named(kind, *values):
    """A name for what is made of these values: two scenes may differ in what their own names don't tell."""
    return f"{kind}-{hashlib.sha256(repr(values).encode()).hexdigest()[:16]}"


@pytest.fixture(scope="session")
def sample(scenes, once):
    """Gives the path of a sample product, by its name in the set or by a scene; each is written once."""

    def path_of(wanted):
        scene = scenes[wanted] if isinstance(wanted, str) else wanted
        [path] = once(named("sample", scene), lambda folder: samples.write(scene, folder)).iterdir()
        return path

    return path_of


@pytest.fixture(scope="session")
def conversion(sample, once):
    """Gives what a sample product becomes; each is converted once for each recipe."""

    @functools.cache
    def converted(path, recipe):
        def fill(folder):
            (folder / "files").mkdir()
            (folder / "converted").write_bytes(pickle.dumps(convert(read(path), folder / "files", recipe)))

        return pickle.loads((once(named("conversion", path, recipe), fill) / "converted").read_bytes())

    return lambda wanted, **recipe: converted(sample(wanted), Recipe(**recipe))


@pytest.fixture(scope="session")
def beside():
    """Gives a file or folder of real data or schemas that lies beside the project; skips the test where it doesn't."""

    def find(name):
        if not (found := BESIDE / name).exists():
            pytest.skip(f"{found} is absent")
        return found

    return find
