import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import shapely
from rasterio.windows import from_bounds

import kartotek
from kartotek.errors import BadRequest, KartotekError, NotFound, OriginError

xarray = pytest.importorskip("xarray")
pytest.importorskip("odc.stac")

from odc.geo import CRS, Geometry, resxy_  # noqa: E402
from pystac import Asset, Item  # noqa: E402

from kartotek.datacube import Datacube, driver, mask, query  # noqa: E402
from kartotek.datacube.grid import geobox  # noqa: E402
from kartotek.datacube.products import products  # noqa: E402

UPPSALA = {
    "product": "sentinel_s2_l2a_zips", "output_crs": "epsg:3006", "lat": (59.90, 59.92), "lon": (17.94, 18.0),
    "resolution": (10, -10), "time": ["2021-07-01", "2022-08-01"],
    "measurements": ["B02_10m", "B03_10m", "B04_10m", "B08_10m"],
}  # fmt: skip
"""The words of a query of the old cube, where the sample products lie: two years, before and after baseline 04.00."""


@pytest.fixture(scope="module")
def logged(demo, serving):
    """A server of our own on the samples, with the log of what it is asked."""
    with serving(demo.settings) as started:
        yield started


@pytest.fixture(scope="module")
def cube(logged):
    return Datacube(logged.root)


@pytest.fixture(scope="module")
def loaded(cube):
    """Two years of one day, in the old cube's numbers and in the agency's."""
    return cube.load(**UPPSALA), cube.load(native=True, **UPPSALA)


def files_read(logged):
    """How often a file was asked for since the server began."""
    return len(re.findall(r"GET /files/", logged.log.read_text()))


# Importing


def run(text, **environment):
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, env=os.environ | environment
    )


def test_importing_kartotek_imports_neither_odc_stac_nor_anything_of_ours():
    done = run("import sys, kartotek; print(sorted(n for n in sys.modules if n.split('.')[0] in "
               "('odc', 'xarray', 'pystac', 'numpy', 'kartotek')))")  # fmt: skip
    assert done.stdout == "['kartotek']\n", done.stderr


def test_it_is_imported_by_its_name_and_brings_none_of_the_server():
    done = run("import sys; from kartotek import Datacube, mask; print(sorted(n for n in sys.modules if n in "
               "('fastapi', 'sqlalchemy', 'converters', 'catalog', 'jobs', 'api', 'kartotek.settings')))")  # fmt: skip
    assert done.stdout == "[]\n", done.stderr


def test_without_odc_stac_the_error_names_the_extra():
    done = run("import sys; sys.modules['odc.stac'] = None\nfrom kartotek import Datacube")
    assert done.returncode == 1
    assert "ImportError: kartotek.Datacube needs odc-stac" in done.stderr
    assert done.stderr.rstrip().endswith("install kartotek[analysis]")


def test_kartotek_has_no_other_names():
    with pytest.raises(AttributeError, match="no attribute 'Datacub'"):
        kartotek.Datacub  # noqa: B018


# What is loaded


def test_axes_go_the_way_that_the_signs_of_resolution_say(cube, loaded):
    rising, _ = loaded
    assert rising.B02_10m.dims == ("time", "y", "x")
    assert set(np.diff(rising.y)) == {10.0} and set(np.diff(rising.x)) == {-10.0}
    assert rising.attrs["crs"] == "EPSG:3006" and rising.spatial_ref == 3006
    usual = cube.load(**UPPSALA | {"resolution": (-10, 10)})
    assert set(np.diff(usual.y)) == {-10.0} and set(np.diff(usual.x)) == {10.0}
    xarray.testing.assert_equal(usual, rising.sortby("x").sortby("y", ascending=False))
    for same in (10, [10], resxy_(10, -10), (-10.0, 10)):
        assert cube.load(**UPPSALA | {"resolution": same, "time": "2022"}).odc.geobox == usual.odc.geobox


def test_the_grid_covers_the_area_on_multiples_of_the_pixel(loaded):
    box = loaded[0].odc.geobox
    around = Geometry(shapely.box(17.94, 59.90, 18.0, 59.92), "EPSG:4326").to_crs("EPSG:3006").boundingbox
    left, bottom, right, top = box.boundingbox.bbox
    assert all(edge % 10 == 0 for edge in (left, bottom, right, top))
    assert 0 <= around.left - left < 10 and 0 <= right - around.right < 10
    assert 0 <= around.bottom - bottom < 10 and 0 <= top - around.top < 10


def test_native_numbers_are_the_very_pixels_of_the_files(cube, loaded, demo):
    _, native = loaded
    items = {item.datetime: item for item in cube.find_datasets("sentinel-2-l2a", time="2021-07-15", lat=59.91)}
    [(when, item)] = [one for one in items.items() if one[1].id.split("_")[5] == "T33VXG"]
    image = native.sel(time=when.replace(tzinfo=None)).sortby("x").sortby("y", ascending=False)
    for name, key in (("B02_10m", "B02"), ("B08_10m", "B08")):
        path = demo.local.root / item.assets[key].href.partition("/files/")[2]
        with rasterio.open(path) as file:
            wanted = file.read(1, window=from_bounds(*image.odc.geobox.boundingbox.bbox, file.transform))
        assert image[name].dtype == wanted.dtype == "uint16" and (wanted > 0).mean() > 0.5
        np.testing.assert_array_equal(image[name], wanted)


def test_times_are_the_items_in_utc_and_in_order(cube, loaded):
    times = loaded[0].time
    assert times.dtype == "datetime64[ns]" and times.attrs["units"] == "seconds since 1970-01-01 00:00:00"
    found = cube.find_datasets("sentinel-2-l2a", **{name: UPPSALA[name] for name in ("lat", "lon", "time")})
    assert times.values.tolist() == sorted({int(one.datetime.timestamp() * 1e6) * 1000 for one in found})
    assert [str(one)[:10] for one in times.values] == ["2021-07-15", "2022-07-15"]


def test_dates_before_and_after_baseline_04_compare(loaded):
    """The same day of two years, whose reflectances are equal in the samples; the agency's numbers differ by 1000."""
    reflectance, native = loaded
    seen = (native.to_dataarray() > 0).all("time") & (native.to_dataarray().isel(time=1) > 1000)
    before, after = (reflectance.to_dataarray().isel(time=n).astype(int) for n in (0, 1))
    assert seen.sum() > 100_000
    assert abs(after - before).where(seen).max() <= 1
    before, after = (native.to_dataarray().isel(time=n).astype(int) for n in (0, 1))
    assert abs(after - before - 1000).where(seen).max() <= 1
    assert {one.dtype for one in reflectance.data_vars.values()} == {np.dtype("uint16")}
    assert reflectance.B04_10m.attrs == {
        "units": "1", "nodata": 0, "crs": "EPSG:3006", "grid_mapping": "spatial_ref",
    }  # fmt: skip


def test_no_pixel_becomes_nodata_or_wraps(cube):
    """Water of the spring scene is below zero: numbers under 1000."""
    asked = {"product": "sentinel-2-l2a", "time": "2023-04", "measurements": ["B01", "B02"], "lat": (59.88, 59.95),
             "lon": (17.9, 18.0)}  # fmt: skip
    native, old = cube.load(native=True, **asked), cube.load(**asked)
    for name in ("B01", "B02"):
        stored, number = native[name].values.astype(int), old[name].values.astype(int)
        assert ((stored > 0) & (stored < 1000)).sum() > 100
        np.testing.assert_array_equal(number, np.where(stored == 0, 0, np.maximum(stored - 1000, 1)))


@pytest.mark.parametrize(
    "stored, scaling, wanted",
    [
        ([0, 1, 999, 1000, 1001, 65535], (1.0, -1000.0), [0, 1, 1, 1, 1, 64535]),
        ([0, 1, 65535], (1.0, 1000.0), [0, 1001, 65535]),
        ([0, 1, 10, 65535], (10.0, 0.0), [0, 10, 100, 65535]),
        ([0, 7, 15], (0.1, 0.0), [0, 1, 2]),
    ],
)
def test_numbers_end_where_their_type_does_and_nodata_stays_apart(stored, scaling, wanted):
    pixels = np.array(stored, "uint16")
    driver.rescale(pixels, scaling, nodata=0)
    assert pixels.tolist() == wanted


def test_floats_keep_what_is_below_zero():
    pixels = np.array([np.nan, 0.02, -9999.0, 0.3])
    driver.rescale(pixels, (10_000.0, -1000.0), nodata=-9999.0)
    np.testing.assert_allclose(pixels, [np.nan, -800, -9999, 2000])


def test_what_is_no_reflectance_stays_as_it_is(cube):
    asked = UPPSALA | {"measurements": ["AOT_20m", "SCL_20m", "CLD_20m"], "resolution": (-20, 20), "time": "2022"}
    one, other = cube.load(**asked), cube.load(native=True, **asked)
    xarray.testing.assert_identical(one, other)
    assert one.SCL_20m.dtype == "uint8" and one.CLD_20m.nodata == 255


def test_measurements_are_called_as_they_are_asked_for(cube):
    asked = UPPSALA | {"time": "2022"}
    old = cube.load(**asked | {"measurements": ["B08_10m", "B04_10m"]})
    new = cube.load(**asked | {"product": "sentinel-2-l2a", "measurements": ["nir", "B04"]})
    assert list(old.data_vars) == ["B08_10m", "B04_10m"] and list(new.data_vars) == ["nir", "B04"]
    np.testing.assert_array_equal(old.B08_10m, new.nir)
    np.testing.assert_array_equal(old.B04_10m, new.B04)
    assert list(cube.load(**asked | {"measurements": "red"}).data_vars) == ["red"]
    every = cube.load(**asked | {"measurements": None, "resolution": (-60, 60)})
    assert {"B02_10m", "B05_20m", "B01_60m", "SCL_20m"} < set(every.data_vars) and "TCI" not in every


def test_a_solar_day_is_one_image_of_all_granules(cube):
    """33VXG and 34VCM lie on both sides of 18 degrees east, where they overlap."""
    asked = UPPSALA | {"time": "2022-07-15", "lon": (17.9, 18.2), "measurements": ["B04_10m"]}
    apart, together = cube.load(**asked, native=True), cube.load(**asked, native=True, group_by="solar_day")
    assert len(cube.find_datasets("sentinel-2-l2a", **{k: asked[k] for k in ("time", "lat", "lon")})) == 2
    assert together.sizes["time"] == 1
    [image] = together.B04_10m.values
    whole = np.zeros_like(image)
    for one in apart.B04_10m.values:
        whole = np.where(whole == 0, one, whole)
    np.testing.assert_array_equal(image, whole)
    assert (image > 0).sum() > max((one > 0).sum() for one in apart.B04_10m.values) or len(apart.time) == 1


def test_like_gives_the_grid_and_the_period_of_what_was_loaded(cube, loaded):
    again = cube.load(product="sentinel-2-l2a", measurements=["B03"], like=loaded[0])
    assert again.odc.geobox == loaded[0].odc.geobox
    np.testing.assert_array_equal(again.time, loaded[0].time)
    np.testing.assert_array_equal(again.B03, loaded[0].B03_10m)


def test_datasets_that_were_found_are_loaded_without_a_search(cube, loaded):
    found = cube.find_datasets(**{**UPPSALA, "product": "sentinel_s2_l2a_zips"})
    assert found and all(isinstance(one, Item) for one in found)
    only = [one for one in found if one.properties["processing:version"] == "04.00"]
    where = {name: UPPSALA[name] for name in ("lat", "lon", "output_crs", "resolution")}
    one = cube.load(datasets=iter(only), measurements=["B02"], **where)
    np.testing.assert_array_equal(one.B02[0], loaded[0].B02_10m[1])
    asked = {name: UPPSALA[name] for name in ("lat", "lon", "time")}
    early = cube.find_datasets("sentinel-2-l2a", dataset_predicate=lambda item: item.datetime.year == 2021, **asked)
    assert {item.datetime.year for item in early} == {2021}
    assert len(cube.find_datasets("sentinel-2-l2a", limit=1, **asked)) == 1


def test_without_a_grid_it_is_the_files_own(cube):
    one = cube.load("sentinel-2-l2a", ["B05"], time="2022-07-15", lat=(59.90, 59.92), lon=(17.94, 18.0))
    assert one.attrs["crs"] == "EPSG:3006" and one.odc.geobox.resolution.yx == (-20, 20)
    whole = cube.load("sentinel-2-l2a", ["B09"], time="2023-08-25")
    assert whole.sizes["y"] * 60 > 10_000


def test_nothing_found_is_an_empty_dataset(cube):
    xarray.testing.assert_identical(cube.load(**UPPSALA | {"time": "1999"}), xarray.Dataset())
    xarray.testing.assert_identical(cube.load(**UPPSALA, cloud_cover=(101, 102)), xarray.Dataset())


# On the way


def test_progress_counts_each_file(cube):
    told = []
    cube.load(progress_cbk=lambda n, N: told.append((n, N)), **UPPSALA)
    wanted = 4 * len(cube.find_datasets("sentinel-2-l2a", **{name: UPPSALA[name] for name in ("lat", "lon", "time")}))
    assert told == [(n, wanted) for n in range(1, wanted + 1)] and wanted >= 8


def test_with_dask_nothing_is_read_until_it_is_computed(cube, logged, loaded):
    before, told = files_read(logged), []
    lazy = cube.load(dask_chunks={"x": 100, "y": 100}, progress_cbk=lambda *one: told.append(one), **UPPSALA)
    assert lazy.B02_10m.chunks[0] == (1, 1) and lazy.B02_10m.chunks[1][0] == lazy.B02_10m.chunks[2][0] == 100
    masked = mask(cube.load(dask_chunks={}, **UPPSALA | {"measurements": ["SCL_20m", "B04_10m"]}))
    assert masked.B04_10m.chunks is not None
    assert files_read(logged) == before
    xarray.testing.assert_identical(lazy.compute(), loaded[0])
    assert files_read(logged) > before and not told


def test_lazy_numbers_of_both_kinds_are_not_taken_for_each_other(cube, loaded):
    """Computed in one go, though they come of the same files."""
    lazy = [cube.load(dask_chunks={}, native=native, **UPPSALA).B02_10m for native in (False, True)]
    difference = (lazy[1].astype(int) - lazy[0].astype(int)).compute()
    np.testing.assert_array_equal(difference, loaded[1].B02_10m.astype(int) - loaded[0].B02_10m.astype(int))


def test_a_file_that_is_gone_is_named_or_left_out(cube, loaded):
    asked = {name: UPPSALA[name] for name in ("lat", "lon", "output_crs", "resolution", "measurements")}
    items = cube.find_datasets("sentinel-2-l2a", **{name: UPPSALA[name] for name in ("lat", "lon", "time")})
    [gone] = [item.assets["B03"] for item in items if item.datetime.year == 2021]
    gone.href = gone.href.replace("B03.", "B03.0")
    with pytest.raises(OriginError, match=re.escape(gone.href)):
        cube.load(datasets=items, **asked)
    left = cube.load(datasets=items, skip_broken_datasets=True, **asked)
    np.testing.assert_array_equal(left.B02_10m, loaded[0].B02_10m)
    np.testing.assert_array_equal(left.B03_10m[1], loaded[0].B03_10m[1])
    assert not left.B03_10m[0].any() and loaded[0].B03_10m[0].any()


# Clouds


def test_mask_keeps_what_the_collection_calls_clear(cube):
    data = cube.load(**UPPSALA | {"measurements": ["B04_10m", "SCL_20m"], "time": "2022"})
    assert data.SCL_20m.attrs["flag_meanings"].split()[4] == "vegetation"
    assert data.SCL_20m.attrs["clear_values"].tolist() == [4, 5, 6, 11]
    found = mask(data)
    clear = np.isin(data.SCL_20m, [4, 5, 6, 11])
    assert found.B04_10m.dtype == "float32" and 0.2 < clear.mean() < 1
    np.testing.assert_array_equal(found.B04_10m, np.where(clear & (data.B04_10m > 0), data.B04_10m, np.nan))
    xarray.testing.assert_identical(found.SCL_20m, data.SCL_20m)
    green = mask(data, by="SCL_20m", clear=["vegetation", 6]).B04_10m
    np.testing.assert_array_equal(green.notnull(), np.isin(data.SCL_20m, [4, 6]) & (data.B04_10m > 0))


def test_mask_says_what_it_lacks(loaded, cube):
    with pytest.raises(BadRequest, match="load it too, such as SCL_20m"):
        mask(loaded[0])
    data = cube.load(**UPPSALA | {"measurements": ["SCL_20m"], "time": "2022"})
    with pytest.raises(BadRequest, match="'B01': not loaded; there are: SCL_20m"):
        mask(data, by="B01")
    with pytest.raises(BadRequest, match=r"grass: no class of SCL_20m; there are: no_data, .*vegetation"):
        mask(data, clear=["grass"])


# What there is


def test_products_and_measurements_are_listed_by_all_names(cube):
    names = list(cube.list_products().index)
    assert names == ["sentinel_s2_l1c_zips", "sentinel-2-l1c", "sentinel_s2_l2a_zips", "sentinel-2-l2a"]
    assert cube.list_products(with_pandas=False)[2]["collection"] == "sentinel-2-l2a"
    table = cube.list_measurements()
    assert table.loc[("sentinel_s2_l2a_zips", "B05_20m"), ["dtype", "nodata", "asset"]].tolist() == ["uint16", 0, "B05"]
    assert "red" in table.loc[("sentinel-2-l2a", "B04"), "aliases"]
    rows = cube.list_measurements(with_pandas=False)
    assert [one["name"] for one in rows if one["product"] == "sentinel_s2_l2a_zips"][:3] == [
        "B01_60m", "B02_10m", "B03_10m",
    ]  # fmt: skip


def test_a_catalogue_of_others_is_loaded_by_its_own_names():
    """Without our tables, and with the older fields."""
    layer = {
        "type": "image/tiff",
        "raster:bands": [{"data_type": "int16", "nodata": "nan"}],
        "eo:bands": [{"common_name": "red"}],
    }
    found = products([{"id": "x", "license": "y", "item_assets": {"b1": layer, "pic": {"type": "image/png"}}}])
    [(name, kind)] = found.items()
    assert name == "x" and [one.name for one in kind.chosen(None)] == ["b1"]
    [red] = kind.chosen("red")
    assert (red.name, red.asset, red.dtype) == ("red", "b1", "int16") and np.isnan(red.nodata)


def test_what_bands_have_in_common_may_stand_in_the_asset():
    layer = {"type": "image/tiff", "data_type": "uint16", "nodata": 0, "raster:scale": 0.0001, "raster:offset": -0.1,
             "roles": ["reflectance"]}  # fmt: skip
    for bands in ({}, {"bands": [{"name": "B04"}]}):
        found = products([{"id": "x", "license": "y", "item_assets": {"b1": {**layer, **bands}}}])
        [red] = found["x"].chosen(None)
        assert (red.dtype, red.nodata, red.reflectance) == ("uint16", 0, True)
        item = Item("one", None, None, datetime(2022, 7, 1, tzinfo=UTC), {})
        item.add_asset("b1", Asset.from_dict({"href": "x.tif", **layer, **bands}))
        assert driver.Parser([red], native=False).driver_data(item, ("b1", 1)) == (1.0, -1000.0)


# Errors


@pytest.mark.parametrize(
    "wrong, kind, message",
    [
        ({"product": "ls8"}, NotFound, r"'ls8': no product of http.*; there are: .*sentinel_s2_l2a_zips"),
        ({"product": None}, BadRequest, "neither product nor datasets"),
        ({"measurements": ["B02_10m", "B2"]}, BadRequest, r"^B2: no measurement of sentinel_s2_l2a_zips; .*B02_10m"),
        ({"measurements": []}, BadRequest, "None means all"),
        ({"time": "July"}, BadRequest, "time 'July': no time"),
        ({"time": ["2019", "2020", "2021"]}, BadRequest, "an instant, or two"),
        ({"time": 2019}, BadRequest, "give a time as text"),
        ({"lat": "north"}, BadRequest, "lat is 'north'; it is a number, or two"),
        ({"lat": (59, float("nan"))}, BadRequest, "no finite range"),
        ({"y": (1, 2)}, BadRequest, "y and lat: give one of them"),
        ({"geopolygon": shapely.box(17, 59, 18, 60)}, BadRequest, "geopolygon and lon, lat: give one"),
        ({"resolution": None}, BadRequest, "resolution is not given"),
        ({"resolution": (10, 10, 10)}, BadRequest, r"resolution is \(10, 10, 10\); it is one number, or two: \(y, x\)"),
        ({"resolution": 0}, BadRequest, "resolution is 0"),
        ({"output_crs": "epsg:9"}, BadRequest, "'epsg:9': no coordinate reference system"),
        ({"crs": "no-such"}, BadRequest, "'no-such': no coordinate reference system"),
        ({"group_by": "month"}, BadRequest, "group_by is 'month'; it is 'time' or 'solar_day'"),
        ({"dask_chunks": {"z": 1}}, BadRequest, "dask_chunks of 'z'; dimensions are: time, y, x"),
        ({"dask_chunks": {"x": "big"}}, BadRequest, "dask_chunks of 'x' is 'big'"),
        ({"resampling": {"B99": "cubic"}}, BadRequest, "resampling of B99, which is not loaded"),
        ({"like": "that"}, BadRequest, "like has an area"),
        ({"cloud_cover": "low"}, BadRequest, "cloud_cover is 'low'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_what_would_do(cube, wrong, kind, message):
    with pytest.raises(kind, match=message) as caught:
        cube.load(**UPPSALA | wrong)
    assert isinstance(caught.value, KartotekError)


def test_a_server_that_is_none_is_named(monkeypatch):
    with pytest.raises(OriginError, match=r"http://127\.0\.0\.1:9: no kartotek server that answers"):
        Datacube("http://127.0.0.1:9").list_products()
    monkeypatch.delenv("KARTOTEK_URL", raising=False)
    with pytest.raises(BadRequest, match="give its URL, or set KARTOTEK_URL"):
        Datacube(app="old-notebook")


def test_the_server_may_come_from_the_environment(monkeypatch, logged):
    monkeypatch.setenv("KARTOTEK_URL", logged.root)
    assert "sentinel-2-l2a" in Datacube(app="old-notebook").list_products().index


# Where and when


@pytest.mark.parametrize(
    "time, wanted",
    [
        (None, None),
        ("2019", "2019-01-01T00:00:00.000000Z/2019-12-31T23:59:59.999999Z"),
        ("2019-02", "2019-02-01T00:00:00.000000Z/2019-02-28T23:59:59.999999Z"),
        (["2019-07-01", "2019-08-01"], "2019-07-01T00:00:00.000000Z/2019-08-01T23:59:59.999999Z"),
        (("2019", None), "2019-01-01T00:00:00.000000Z/.."),
        ((None, date(2019, 7, 1)), "../2019-07-01T23:59:59.999999Z"),
        (datetime(2019, 7, 1, 10), "2019-07-01T10:00:00.000000Z/2019-07-01T10:00:00.999999Z"),
        (datetime(2019, 7, 1, 10, tzinfo=UTC), "2019-07-01T10:00:00.000000Z/2019-07-01T10:00:00.999999Z"),
        ("2019-07-01T05:00:00-05:00", "2019-07-01T10:00:00.000000Z/2019-07-01T10:00:00.999999Z"),
        ("2019-07-01 10:00", "2019-07-01T10:00:00.000000Z/2019-07-01T10:00:59.999999Z"),
        ("2019-07-01T12:00:00+02:00", "2019-07-01T10:00:00.000000Z/2019-07-01T10:00:00.999999Z"),
        (np.datetime64("2019-07-01T10:00"), "2019-07-01T10:00:00.000000Z/2019-07-01T10:00:00.999999Z"),
    ],
)
def test_a_period_reaches_to_the_end_of_what_is_said(time, wanted):
    assert query.period(time) == wanted


@pytest.mark.parametrize("form", ["shapely", "geojson", "text", "wkt", "odc-geo", "several", "sweref"])
def test_a_polygon_may_come_in_any_form(form):
    shape = shapely.box(17.9, 59.9, 18.0, 60.0)
    given = {
        "shapely": shape, "geojson": shapely.geometry.mapping(shape), "wkt": shape.wkt,
        "text": shapely.to_geojson(shape),
        "odc-geo": Geometry(shape, "EPSG:4326"),
        "several": [shapely.box(17.9, 59.9, 17.96, 60.0), shapely.box(17.95, 59.9, 18.0, 60.0)],
        "sweref": Geometry(shape, "EPSG:4326").to_crs("EPSG:3006"),
    }[form]  # fmt: skip
    found = query.area(across={"x": None}, along={"y": None}, geopolygon=given)
    back = shapely.geometry.shape(query.on_earth(found))
    assert back.symmetric_difference(shape).area < 1e-3 * shape.area  # edges in another CRS bend


def test_ranges_may_be_in_any_crs_and_either_way():
    one = query.area(across={"x": (660_000, 650_000)}, along={"y": (6_640_000, 6_650_000)}, crs="EPSG:3006")
    assert one.crs == CRS("EPSG:3006") and one.boundingbox.bbox == (650_000, 6_640_000, 660_000, 6_650_000)
    point = query.area(across={"lon": 18}, along={"lat": 60})
    assert point.crs == CRS("EPSG:4326") and 0 < point.area < 1e-10


def test_align_moves_the_edges_by_y_and_x():
    area = Geometry(shapely.box(0, 0, 100, 100), "EPSG:3006")
    box = geobox(items=[], assets=[], area=area, output_crs="EPSG:3006", resolution=10, align=(2, 5))
    assert box.boundingbox.left % 10 == 5 and box.boundingbox.top % 10 == 2


def test_the_folder_imports_nothing_of_ours_but_errors():
    """The layers are import-linter's to check; here is what a reader of the folder would look for."""
    for path in Path(driver.__file__).parent.glob("*.py"):
        ours = re.findall(
            r"^\s*(?:from|import) (kartotek[\w.]*|converters|catalog|pixels|jobs|api)", path.read_text(), re.M
        )
        assert all(name == "kartotek.errors" or name.startswith("kartotek.datacube") for name in ours), path
