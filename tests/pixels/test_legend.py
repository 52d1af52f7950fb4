"""Legends as JSON and as pictures."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from kartotek.errors import BadRequest
from kartotek.indices import INDICES
from pixels import colors, legend
from pixels.colors import ClassColor

CLASSES = (
    ClassColor(value=4, label="Vegetation", color=(0, 160, 0)),
    ClassColor(value=6, label="Öppet vatten", color=(0, 0, 255)),
)


def picture(made: legend.Legend, scale: int = 1) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(legend.to_png(made, scale=scale))).convert("RGB")).astype(int)


def test_a_legend_of_values_tells_them_with_their_colours():
    made = legend.to_dict(legend.of_values("RdYlGn", -1, 1, title="NDVI", unit="-"))
    assert json.loads(json.dumps(made)) == made
    assert (made["title"], made["unit"], made["colors"], made["low"], made["high"]) == ("NDVI", "-", "rdylgn", -1, 1)
    assert [entry["label"] for entry in made["entries"]] == ["-1", "-0.75", "-0.5", "-0.25", "0", "0.25", "0.5",
                                                             "0.75", "1"]  # fmt: skip
    table = colors.color_map("rdylgn")
    assert made["entries"][0]["color"] == "#a50026" == f"#{bytes(table[0, :3]).hex()}"
    # Each entry has the colour that its value has in a tile.
    values = np.array([entry["value"] for entry in made["entries"]])
    shown = table[np.rint((values + 1) / 2 * 255).astype(int), :3].astype(int)
    told = np.array([list(bytes.fromhex(entry["color"][1:])) for entry in made["entries"]])
    assert np.abs(shown - told).max() <= 8


def test_a_legend_of_classes_tells_each():
    assert legend.to_dict(legend.of_classes(CLASSES, title="SCL")) == {
        "title": "SCL",
        "entries": [
            {"value": 4, "label": "Vegetation", "color": "#00a000"},
            {"value": 6, "label": "Öppet vatten", "color": "#0000ff"},
        ],
    }


@pytest.mark.parametrize("scale", legend.SCALES)
def test_the_bar_of_a_legend_has_the_colours_in_their_order(scale):
    pixels = picture(legend.of_values("viridis_r", 0, 0.3, title="Reflectance"), scale)
    table = colors.color_map("viridis_r")[:, :3].astype(int)
    row = pixels[(8 + 20 + 8) * scale]
    inside = np.flatnonzero((row != 255).any(axis=1))[2 * scale : -2 * scale]
    assert np.array_equal(inside, np.arange(inside[0], inside[-1] + 1))
    expected = table[np.linspace(0, 255, len(inside)).round().astype(int)]
    assert np.abs(row[inside] - expected).max() <= 8


def test_a_legend_of_classes_shows_a_swatch_and_a_word_of_each():
    pixels = picture(legend.of_classes(CLASSES, title="Classes"))
    for number, one in enumerate(CLASSES, start=1):
        line = pixels[8 + 20 * number : 8 + 20 * number + 14]
        assert (line[7, 15] == one.color).all()
        assert (line[:, 30:].sum(axis=2) < 3 * 128).any(), "nothing is written beside it"


def test_letters_of_the_country_are_written():
    def drawn(title: str) -> np.ndarray:
        return picture(legend.of_classes((), title=title))

    pictures = [drawn(letter).tobytes() for letter in "aåäöÅÄÖéµ°−\uffff"]
    assert len(set(pictures)) == len(pictures)


@pytest.mark.parametrize("index", INDICES.values(), ids=lambda index: index.name)
def test_each_index_has_a_legend(index):
    made = legend.of_values(index.colors, index.low, index.high, title=index.title)
    assert (made.entries[0].value, made.entries[-1].value) == (index.low, index.high)
    assert picture(made).shape[1] >= 336


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [(0, 1, "0 0.25 0.5 0.75 1"), (0, 10_000, "0 2500 5000 7500 10000"), (250, 310, "250 265 280 295 310"),
     (-25, 0, "-25 -18.75 -12.5 -6.25 0"), (0.3, 0, "0.3 0.225 0.15 0.075 0"),
     (0, 1e-9, "0 2.5e-10 5e-10 7.5e-10 1e-09"), (0, 1e300, "0 2.5e+299 5e+299 7.5e+299 1e+300")],
)  # fmt: skip
def test_labels_have_the_digits_that_they_differ_by(low, high, labels):
    made = legend.of_values("gray", low, high, title="x")
    assert [entry.label for entry in made.entries[::2]] == labels.split()


def test_no_legend_is_large():
    longest = "W" * 100_000
    classes = [ClassColor(value=value, label=longest, color=(0, 0, 0)) for value in range(legend.MAX_CLASSES)]
    made = [legend.of_classes(classes, title=longest), legend.of_values("gray", 0, 1e300, title=longest, unit=longest)]
    for one in made:
        rows, columns, _ = picture(one, scale=2).shape
        assert rows * columns <= 4_000_000
        assert len(legend.to_png(one, scale=2)) < 500_000


def test_what_is_not_drawn_is_told():
    classes = [ClassColor(value=value, label="x", color=(0, 0, 0)) for value in range(legend.MAX_CLASSES + 1)]
    with pytest.raises(BadRequest, match="65 classes; at most 64"):
        legend.to_png(legend.of_classes(classes, title="x"))
    for scale in (0, 3, 1_000_000):
        with pytest.raises(BadRequest, match="1 or 2 will do"):
            legend.to_png(legend.of_classes(CLASSES, title="x"), scale=scale)
    with pytest.raises(BadRequest, match="no colour map 'rainbow'"):
        legend.of_values("rainbow", 0, 1, title="x")
    with pytest.raises(BadRequest, match="finite and differ"):
        legend.of_values("gray", 1, 1, title="x")
