"""Colour maps and classes' colours, and pictures made by them."""

from pathlib import Path

import numpy as np
import pytest

from converters import items
from converters.sensors.sentinel2 import L2A
from kartotek.errors import BadRequest
from kartotek.indices import INDICES
from pixels import colors

SCL = ["000000", "FF0000", "2F2F2F", "643200", "00A000", "FFE65A", "0000FF", "808080", "C0C0C0", "FFFFFF", "64C8FF",
       "FF96FF"]  # fmt: skip


@pytest.mark.parametrize("name", colors.COLOR_MAPS)
def test_every_colour_map_has_256_colours_and_its_reverse(name):
    table = colors.color_map(name)
    assert table.shape == (256, 4) and table.dtype == np.uint8 and (table[:, 3] == 255).all()
    assert len(np.unique(table, axis=0)) > 100
    assert np.array_equal(colors.color_map(f"{name.upper()}_R"), table[::-1])
    # From colour to colour there is no jump: it is a scale, not a list of classes.
    assert np.abs(np.diff(table.astype(int), axis=0)).max() < 32


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [("viridis", "440154", "fde725"), ("magma", "000004", "fcfdbf"), ("gray", "000000", "ffffff"),
     ("greys", "ffffff", "000000"), ("rdylgn", "a50026", "006837"), ("cividis", "00224e", "fee838"),
     ("ylgn", "ffffe5", "004529"), ("rdbu", "67001f", "053061")],
)  # fmt: skip
def test_colour_maps_have_the_colours_of_those_who_made_them(name, first, last):
    table = colors.color_map(name)
    for found, wanted in ((table[0, :3], first), (table[-1, :3], last)):
        assert np.abs(found.astype(int) - list(bytes.fromhex(wanted))).max() <= 1


def test_nobody_can_change_a_colour_map_for_the_others():
    with pytest.raises(ValueError, match="read-only"):
        colors.color_map("viridis")[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        colors.color_map("viridis_r")[0] = 0


@pytest.mark.parametrize(
    "name", ["", "_r", "viridis_r_r", "rainbow", "bids:viridis", "../viridis", "x" * 10_000, "#fff"]
)
def test_an_unknown_colour_map_is_told_with_those_that_there_are(name):
    with pytest.raises(BadRequest, match="there are, each with _r too: algae, balance, blues") as caught:
        colors.color_map(name)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", INDICES)
def test_the_colours_of_an_index_are_there(name):
    assert colors.color_map(INDICES[name].colors).shape == (256, 4)


def test_scene_classes_have_the_colours_that_they_are_known_by():
    assets = items.collection(L2A).to_dict()["item_assets"]
    classes = colors.class_colors(assets["SCL"]["classification:classes"])
    assert [one.value for one in classes] == list(range(1, 12))
    assert [bytes(one.color).hex().upper() for one in classes] == SCL[1:]
    table = colors.class_table(classes)
    assert table[4].tolist() == [0, 160, 0, 255]
    assert (table[[0, 12, 255]] == 0).all()


def test_classes_without_colours_have_some_of_their_own():
    classes = colors.class_colors([{"value": value, "name": f"c{value}"} for value in range(12)])
    assert len({one.color for one in classes}) == 12
    assert classes[3].label == "c3"


@pytest.mark.parametrize(
    ("one", "message"),
    [({"value": 256}, "256 is no whole number"), ({"value": "4"}, "'4' is no whole number"), ({}, "None is no whole"),
     ({"value": 1, "color_hint": "green"}, "'green', not six"), ({"value": 1, "color_hint": "0F0"}, "'0F0', not six"),
     ({"value": 1, "color_hint": "00FF00FF"}, "not six"), ({"value": 1, "color_hint": 7}, "7, not six")],
)  # fmt: skip
def test_classes_that_cannot_be_shown_are_named(one, message):
    with pytest.raises(ValueError, match=message):
        colors.class_colors([one])


def test_the_reference_lists_every_colour_map():
    page = (Path(__file__).resolve().parents[2] / "docs/reference/formulas.md").read_text()
    assert all(f"`{name}`" in page.split("## Colour maps")[1] for name in colors.COLOR_MAPS)
