import imagecodecs
import numpy as np
import pytest

from converters.thumbnail import Shown, thumbnail
from kartotek.grids import NATIONAL, Grid
from kartotek.product import Kind, Layer, LayerType


def layer(name="VV", nodata=0.0, scale=1.0, dtype="float32"):
    kind = LayerType(name=name, kind=Kind.MEASUREMENT, resolution=10, title="", data_type=dtype, nodata=nodata)
    return Layer(type=kind, file="", href="", grid=grid(), scale=scale)


def grid(resolution=10, columns=1, rows=1, left=0, top=0):
    return Grid(crs=NATIONAL, left=left, top=top, resolution=resolution, columns=columns, rows=rows)


def shown(layer, numbers, metres=2400, *, left=0, top=0):
    """A band that is as wide, so that pixels are as large as their count says."""
    rows, columns = numbers.shape
    return Shown(layer, numbers, grid(metres / columns, columns, rows, left, top))


def picture(*bands, rescale=(0, 255)):
    """The thumbnail's pixels, (rows, columns, 4)."""
    found = imagecodecs.png_decode(thumbnail([shown(*band) for band in bands], rescale=rescale))
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


def test_layers_that_begin_and_end_elsewhere_show_the_same_ground():
    """Corners of files lie on multiples of 20 480 m, or of 30 720 m at 60 m."""

    def ground(resolution, left, top, columns, rows):
        east = left + (np.arange(columns) + 0.5) * resolution
        north = top - (np.arange(rows) + 0.5) * resolution
        numbers = (50 + east[None] / 100 + north[:, None] / 50).astype(np.float32)
        return Shown(layer(), numbers, grid(resolution, columns, rows, left, top))

    bands = [ground(10, 2000, 4000, 400, 300), ground(20, 0, 5000, 400, 300), ground(60, -600, 4200, 200, 80)]
    found = imagecodecs.png_decode(thumbnail(bands, rescale=(0, 255))).astype(int)
    # From 2000 to 6000 m east and from 1000 to 4000 m north, in pixels whose centres lie there.
    assert found.shape == (50, 67, 4) and (found[..., 3] == 255).all()
    assert np.abs(found[..., :3] - found[..., 2:3]).max() <= 1
    assert abs(found[0, 0, 2] - (50 + 2010 / 100 + 3990 / 50)) <= 1
