"""The map page in a real browser: Chromium without a window, by its driver."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import orjson
import pytest
import rasterio
from pyproj import Transformer
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.ui import WebDriverWait

from catalog.access import OPERATOR
from kartotek.storage import MARKER

MAIN = "from kartotek.cli import main; main()"
ITEM = "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400"
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--window-size=1280,800", "--force-device-scale-factor=1"),
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[object]:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver here: the map page is not looked at")
    options = ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = ChromeService(shutil.which("chromedriver"))
    driver = Chrome(options, service)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture
def page(browser, server):
    """The page, with its items listed."""
    browser.get(f"{server}/")
    assert _run(browser, "return kartotek.ready") == 12
    return browser


def test_page_lists_the_items_newest_first_without_an_error(page):
    entries = page.find_elements("css selector", "#list button")
    assert len(entries) == 12
    assert "2025-04-22" in entries[0].text and "2021-07-15" in entries[-1].text
    assert [entry["message"] for entry in page.get_log("browser")] == []


def test_every_thumbnail_is_loaded(page):
    shown = _run(
        page,
        """const images = [...document.querySelectorAll("#list img")];
        images.forEach((image) => (image.loading = "eager"));
        return Promise.all(images.map((image) => image.decode().then(() => image.naturalWidth)))""",
    )
    assert len(shown) == 12 and min(shown) > 50


def test_clicked_item_shows_its_pixels_at_their_places(page, published):
    entry = next(entry for entry in page.find_elements("css selector", "#list button") if _names(entry, ITEM))
    entry.click()
    _run(page, "return kartotek.rendered()")
    assert entry.get_attribute("aria-current")
    compared = _compare(page, published, ITEM)
    assert compared.mean() >= 0.95, f"{compared.sum()} of {compared.size} pixels agree"


def test_item_of_another_zone_lies_on_the_same_map(page, published):
    other = "S2B_MSIL2A_20220715T101559_N0400_R065_T34VCM_20220715T142400"
    drawn = _run(page, f'return kartotek.select("sentinel-2-l2a", "{other}")')
    assert drawn["failed"] == 0 and drawn["drawn"] > 0
    assert _compare(page, published, other).mean() >= 0.95


def test_footprint_on_the_map_can_be_clicked(page, published):
    item = orjson.loads(published.catalog.item(OPERATOR, "sentinel-2-l2a", ITEM))
    west, south, east, north = item["bbox"]
    middle = Transformer.from_crs(4326, 3006, always_xy=True).transform((west + east) / 2, (south + north) / 2)
    _run(page, f'return kartotek.select("sentinel-2-l2a", "{ITEM}")')
    x, y = _run(page, f"return kartotek.map.getPixelFromCoordinate([{middle[0]}, {middle[1]}])")
    before = _run(page, "return kartotek.chosen")
    _click(page, x, y)
    # Several scenes lie here, and each click chooses the next one; the map waits whether it becomes a double click.
    after = WebDriverWait(page, 10).until(lambda _: (now := _run(page, "return kartotek.chosen")) != before and now)
    assert before.endswith(ITEM)
    assert "T33VXG" in after or "T34VCM" in after


def test_tile_that_fails_is_told_in_words(browser, published, tmp_path):
    command = [sys.executable, "-c", MAIN, "serve", "--port", "0", "--database", published.settings.database]
    # The items are there, but their files are not.
    with subprocess.Popen([*command, "--storage", str(tmp_path)], stdout=subprocess.PIPE, text=True) as serving:
        try:
            browser.get(serving.stdout.readline().split()[1])
            _run(browser, "return kartotek.ready")
            browser.find_element("css selector", "#list button").click()
            status = browser.find_element("id", "status")
            WebDriverWait(browser, 10).until(lambda _: "failed" in status.get_attribute("class"))
            assert "the file is not in the storage" in status.text
        finally:
            serving.terminate()
            browser.get_log("browser")


@pytest.mark.parametrize(
    ("east", "north", "ground"),
    [(500_000, 6_800_000, "sweden"), (262_000, 6_650_000, "neighbours"), (200_000, 7_400_000, "sea")],
)
def test_land_and_sea_lie_where_they_are(page, east, north, ground):
    there = """
    const [neighbours, sweden] = kartotek.map.getLayers().getArray();
    return [sweden, neighbours].map((layer) => layer.getSource().getFeaturesAtCoordinate(arguments[0]).length);
    """
    assert page.execute_script(there, [east, north]) == {"sweden": [1, 0], "neighbours": [0, 1], "sea": [0, 0]}[ground]


def test_the_api_can_be_read_and_tried_without_the_web(browser, server):
    browser.get(f"{server}/api.html")
    WebDriverWait(browser, 30).until(lambda page: len(page.find_elements("css selector", ".opblock")) > 8)
    assert "/search" in browser.find_element("id", "api").text
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    addresses = _run(browser, "return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert addresses and all(address.startswith(server) for address in addresses if not address.startswith("data:"))


def test_picture_of_the_readme_can_be_made(page, tmp_path):
    _run(page, f'return kartotek.select("sentinel-2-l2a", "{ITEM}")')
    path = os.environ.get("KARTOTEK_TEST_PICTURE", str(tmp_path / "page.png"))  # `make picture` names the README's
    assert page.save_screenshot(path)
    with rasterio.open(path) as picture:
        # A map that stayed empty would have few colours.
        assert len(np.unique(picture.read((1, 2, 3)).reshape(3, -1), axis=1).T) > 5_000


def _run(browser, script: str):
    """The value of a script's promise."""
    done = "const done = arguments[arguments.length - 1];"
    body = f"Promise.resolve((() => {{ {script} }})()).then(done, (error) => done({{error: String(error)}}))"
    found = browser.execute_async_script(f"{done} {body}")
    assert not (isinstance(found, dict) and "error" in found), found
    return found


def _click(browser, x: float, y: float) -> None:
    box = browser.execute_script("return kartotek.map.getTargetElement().getBoundingClientRect().toJSON()")
    chain = ActionChains(browser)
    chain.w3c_actions.pointer_action.move_to_location(round(box["left"] + x), round(box["top"] + y))
    chain.click().perform()


def _names(entry, item: str) -> bool:
    """Whether an entry of the list is the item's: platform and level, granule, and time."""
    platform, level, sensed, _, _, granule, _ = item.split("_")
    return f"{platform} {level} {granule}" in entry.text and f"{sensed[:4]}-{sensed[4:6]}-{sensed[6:8]}" in entry.text


def _compare(page, published, item: str) -> np.ndarray:
    """For places in even ground, whether the canvas shows what the COGs hold, stretched as the collection says."""
    document = orjson.loads(published.catalog.item(OPERATOR, "sentinel-2-l2a", item))
    bands = []
    for name in ("B04", "B03", "B02"):
        asset = document["assets"][name]
        with rasterio.open(published.local.root / asset["href"].removeprefix(MARKER)) as source:
            band = asset["bands"][0]
            numbers, transform = source.read(1), source.transform
        physical = numbers * band["raster:scale"] + band["raster:offset"]
        bands.append(np.where(numbers == 0, np.nan, np.clip(physical / 0.3 * 255, 0, 255)))
    picture = np.dstack(bands)
    scale = _run(page, "return kartotek.map.getView().getResolution()") / 10
    reach = int(np.ceil(scale)) + 2
    found, random = [], np.random.default_rng(1)
    rows, columns = np.nonzero(np.isfinite(picture[..., 0]))
    for place in random.permutation(len(rows))[:4000]:
        row, column = rows[place], columns[place]
        around = picture[row - reach : row + reach + 1, column - reach : column + reach + 1]
        # The browser blends what lies within a screen pixel: compared are places whose surroundings are even.
        if around.shape[:2] != (2 * reach + 1,) * 2 or not np.ptp(around, axis=(0, 1)).max() < 8:
            continue
        easting, northing = transform @ (column + 0.5, row + 0.5)
        pixel = _run(page, f"return kartotek.pixelAt([{easting}, {northing}])")
        if pixel is not None:
            found.append(pixel[3] == 255 and np.abs(np.array(pixel[:3]) - around.mean(axis=(0, 1))).max() <= 8)
        if len(found) == 40:
            break
    assert len(found) >= 20
    return np.array(found)
