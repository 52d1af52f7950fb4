import imagecodecs
import numpy as np
import pytest

from converters.thumbnail import thumbnail
from kartotek.grids import NATIONAL, Grid
from kartotek.product import Kind, Layer, LayerType


def layer(name="VV", nodata=0.0, scale=1.0, dtype="float32"):
    kind = LayerType(name=name, kind=Kind.MEASUREMENT, resolution=10, title="", data_type=dtype, nodata=nodata)
    grid = Grid(crs=NATIONAL, left=0, top=0, resolution=10, columns=1, rows=1)
    return Layer(type=kind, file="", href="", grid=grid, scale=scale)


def picture(*bands, rescale=(0, 255)):
    """The thumbnail's pixels, (rows, columns, 4)."""
    found = imagecodecs.png_decode(thumbnail(bands, rescale=rescale))
    assert found.ndim == 3 and found.shape[2] == 4
    return found


@pytest.mark.parametrize("rescale", [(0, 255), [(0, 255)], ((0, 255),)])
def test_one_layer_is_shown_as_grey(rescale):
    numbers = np.arange(1, 241, dtype=np.float32).reshape(12, 20)
    found = picture((layer(), numbers), rescale=rescale)
    assert all(np.array_equal(found[..., channel], numbers) for channel in range(3)) and (found[..., 3] == 255).all()


@pytest.mark.parametrize("nodata", [0.0, np.nan, -9999.0])
def test_what_has_no_data_is_transparent_and_cut_off_at_the_edges(nodata):
    numbers = np.full((40, 60), 100, np.float32)
    numbers[:10] = numbers[:, 50:] = numbers[20:22, 20:22] = nodata
    found = picture((layer(nodata=nodata), numbers))
    assert found.shape == (30, 50, 4) and (found[..., 3] == 0).sum() == 4 and not found[10:12, 20:22, 3].any()


def test_layers_of_different_resolutions_are_brought_to_the_coarsest():
    """Over the same ground: 10, 20 and 60 m."""
    east = np.linspace(0, 250, 240, endpoint=False)[None].repeat(120, axis=0) + 1
    bands = [(layer(), east[::step, ::step].astype(np.float32)) for step in (1, 2, 6)]
    found = picture(*bands)
    assert found.shape == (20, 40, 4)
    assert (
        np.abs(found[..., :3].astype(int) - found[..., 2:3]).max() <= 6
        and (np.diff(found[0, :, 0].astype(int)) > 0).all()
    )


def test_each_band_may_be_stretched_in_its_own_way():
    numbers = np.full((8, 8), 50, np.float32)
    found = picture(*[(layer(), numbers)] * 3, rescale=[(0, 255), (0, 100), (50, 60)])
    assert found[0, 0].tolist() == [50, 128, 0, 255]


def test_of_two_layers_the_first_is_shown():
    found = picture((layer(), np.full((8, 8), 50, np.float32)), (layer(), np.full((4, 4), 9, np.float32)))
    assert found[0, 0].tolist() == [50, 50, 50, 255]
