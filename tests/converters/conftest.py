import dataclasses
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


@pytest.fixture(scope="session")
def sample(scenes, tmp_path_factory):
    """Gives the path of a sample product, by its name in the set or by a scene; each is written once."""
    folder = tmp_path_factory.mktemp("samples")
    made = {}

    def path_of(wanted):
        scene = scenes[wanted] if isinstance(wanted, str) else wanted
        if scene not in made:
            # A folder of its own: two scenes may differ in what their names don't tell.
            made[scene] = samples.write(scene, folder / str(len(made)))
        return made[scene]

    return path_of


@pytest.fixture(scope="session")
def conversion(sample, tmp_path_factory):
    """Gives what a sample product becomes; each is converted once for each recipe."""
    made = {}

    def converted(wanted, **recipe):
        path, chosen = sample(wanted), Recipe(**recipe)
        if (path, chosen) not in made:
            made[path, chosen] = convert(read(path), tmp_path_factory.mktemp("converted"), chosen)
        return made[path, chosen]

    return converted


@pytest.fixture(scope="session")
def beside():
    """Gives a file or folder of real data or schemas that lies beside the project; skips the test where it doesn't."""

    def find(name):
        if not (found := BESIDE / name).exists():
            pytest.skip(f"{found} is absent")
        return found

    return find
