"""The map page in a real browser: Chromium without a window, by its driver."""

import os
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
import pytest
import rasterio
from pyproj import Transformer
from selenium.webdriver import ActionChains, Keys
from selenium.webdriver.support.ui import WebDriverWait

from catalog.access import OPERATOR
from kartotek.storage import MARKER

VIEWER = Path(__file__).resolve().parents[2] / "api/viewer"
ITEM = "S2B_MSIL2A_20220715T101559_N0400_R065_T33VXG_20220715T142400"


@pytest.fixture
def page(browser, server):
    """The page, with its items listed; it does nothing that its content security policy refuses."""
    _open(browser, f"{server}/")
    assert len(_listed(browser)) == 12
    yield browser
    assert browser.execute_script("return window.reports") == []


@pytest.fixture(scope="module")
def site(demo, serving) -> Iterator[str]:
    """The page's address, for what is the same whatever the database."""
    with serving(demo.settings) as started:
        yield f"{started.root}/"


def test_page_lists_the_items_newest_first_without_an_error(page):
    times = [element.get_attribute("datetime")[:10] for element in page.find_elements("css selector", "#list time")]
    assert len(times) == 12 and times == sorted(times, reverse=True)
    assert times[0] == "2025-04-22" and times[-1] == "2021-07-15"
    assert [entry["message"] for entry in page.get_log("browser")] == []


THUMBNAILS = """const images = [...document.querySelectorAll("#list img")];
        images.forEach((image) => (image.loading = "eager"));
        return Promise.all(images.map((image) => image.decode().then(() => image.naturalWidth)))"""


def test_every_thumbnail_is_loaded(page):
    shown = _run(page, THUMBNAILS)
    assert len(shown) == 12 and min(shown) > 50


def test_thumbnails_come_from_the_bucket_where_clients_are_sent_on_to_it(browser, demo_on_postgis, serving):
    """Under the name that clients have for it, which need not be the server's."""
    endpoint = os.environ["AWS_ENDPOINT_URL"].replace("127.0.0.1", "localhost")
    with serving(demo_on_postgis.settings, KARTOTEK_FILES="redirect", KARTOTEK_FILES_ENDPOINT=endpoint) as started:
        _open(browser, f"{started.root}/")
        assert len(_listed(browser)) == 12
        assert min(_run(browser, THUMBNAILS)) > 50
        assert browser.execute_script("return window.reports") == []
        asked = urllib.request.Request(f"{started.root}/", headers={"Accept": "text/html"})
        with urllib.request.urlopen(asked, timeout=30) as answer:
            assert f"img-src 'self' data: blob: {started.root} {endpoint};" in answer.headers["Content-Security-Policy"]


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


def test_tile_that_fails_is_told_in_words(browser, published, serving, tmp_path):
    # The items are there, but their files are not.
    with serving(published.settings.model_copy(update={"storage": str(tmp_path)})) as started:
        try:
            _open(browser, f"{started.root}/")
            browser.find_element("css selector", "#list button").click()
            status = browser.find_element("id", "status")
            WebDriverWait(browser, 10).until(lambda _: "failed" in status.get_attribute("class"))
            assert "the file is not in the storage" in status.text
        finally:
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


def test_page_is_used_by_keyboard_alone(page, published):
    """Nothing but keys from the address to the pixels of an item, across the map, and back."""

    def at(selector: str) -> bool:
        return page.execute_script("return document.activeElement.matches(arguments[0])", selector)

    def walk(key: str, selector: str, most: int, *, back: bool = False) -> None:
        for _ in range(most):
            if back:
                ActionChains(page).key_down(Keys.SHIFT).send_keys(key).key_up(Keys.SHIFT).perform()
            else:
                _press(page, key)
            # Wherever the keyboard is can be seen: by an outline, or, above the map's canvas, by a frame.
            assert page.execute_script(
                """const at = document.activeElement;
                const [own, above] = [getComputedStyle(at), getComputedStyle(at, "::after")];
                const seen = at.id === "map" ? above.boxShadow !== "none" : own.outlineStyle !== "none";
                return at.matches(":focus-visible") && at.checkVisibility() && seen"""
            ), page.execute_script("return document.activeElement.outerHTML.slice(0, 200)")
            if at(selector):
                return
        raise AssertionError(f"{most} times {key!r} do not lead to {selector}")

    walk(Keys.TAB, "[href='#list']", 1)
    _press(page, Keys.ENTER)
    assert at("#list button:first-child") and _listed(page)[0] == _focused(page)
    walk(Keys.ARROW_DOWN, f"[title='{ITEM}']", 12)
    _press(page, Keys.END)
    assert _focused(page) == _listed(page)[-1]
    walk(Keys.ARROW_UP, f"[title='{ITEM}']", 12)
    _press(page, Keys.ENTER)
    _run(page, "return kartotek.rendered()")
    WebDriverWait(page, 20).until(lambda _: _text(page, "status").startswith("S2B MSIL2A T33VXG"))
    assert _compare(page, published, ITEM).mean() >= 0.95

    walk(Keys.TAB, "#map", 6)  # out of the list at once, past the links beneath it
    before = _state(page)["map"]
    _press(page, Keys.ARROW_RIGHT)
    WebDriverWait(page, 10).until(lambda _: _state(page)["map"][0] > before[0] and _state(page)["map"][2] == before[2])
    _press(page, "+")
    WebDriverWait(page, 10).until(lambda _: _state(page)["map"][2] < before[2])
    _press(page, Keys.ESCAPE)
    assert _focused(page) == ITEM
    _press(page, Keys.ESCAPE)
    assert _state(page)["chosen"] is None and _state(page)["marked"] == []
    walk(Keys.TAB, "#map", 6)
    _press(page, Keys.ENTER)  # what lies in the middle
    assert _state(page)["chosen"]

    _press(page, Keys.ESCAPE)
    walk(Keys.TAB, "#search [name=cloud]", 10, back=True)
    _press(page, "5", Keys.ENTER)
    assert _ready(page) == 2


def test_search_is_narrowed_by_days_collections_cloud_and_the_map_view(page):
    found = _text(page, "found")
    _fill(page, **{"from": "2022-07-15", "to": "2022-07-15"})
    assert {name[11:19] for name in _listed(page)} == {"20220715"} and len(_listed(page)) == 3
    page.find_element("css selector", "#collections [value=sentinel-2-l1c]").click()
    _fill(page)
    assert [name[:10] for name in _listed(page)] == ["S2B_MSIL1C"]
    page.find_element("id", "clear").click()
    assert _ready(page) == 12 and _text(page, "found") == found

    _fill(page, cloud="5")
    assert len(_listed(page)) == 2 and "10 with more cloud are left out" in _text(page, "found")
    page.find_element("id", "clear").click()
    _ready(page)

    _run(page, f'return kartotek.select("sentinel-2-l2a", "{ITEM}")')
    page.find_element("css selector", "#search [name=view]").click()
    assert _ready(page) == 5 and all("T33VXG" in name or "T34VCM" in name for name in _listed(page))
    assert page.find_element("name", "within").is_selected()
    west, south, east, north = map(float, parse_qs(urlsplit(page.current_url).query)["bbox"][0].split(","))
    assert 17 < west < 17.93 < 18.1 < east < 19 and 59.5 < south < 59.85 < north < 60.5
    page.find_element("name", "within").click()
    _fill(page)
    assert len(_listed(page)) == 12 and "bbox" not in page.current_url


def test_day_before_the_first_one_is_not_sent(browser, site):
    _open(browser, site)
    _fill(browser, **{"from": "2022-07-15", "to": "2022-07-14"})
    field = browser.find_element("name", "to")
    assert field.get_property("validationMessage") == "This day is before the first one."
    assert len(_listed(browser)) == 12
    _fill(browser, to="2022-07-16")
    assert len(_listed(browser)) == 3


def test_shared_link_shows_the_same_page(browser, site):
    _open(browser, site)
    _fill(browser, **{"from": "2022-07-01", "to": "2023-04-30", "cloud": "50"})
    browser.find_element("css selector", "#collections [value=sentinel-2-l2a]").click()
    browser.find_element("css selector", "#languages [lang=sv]").click()  # what was not sent is not in the link
    _ready(browser)
    browser.find_element("css selector", "#collections [value=sentinel-2-l2a]").click()
    _fill(browser)
    _run(browser, f'return kartotek.select("sentinel-2-l2a", "{ITEM}")')
    browser.find_element("css selector", "#search [name=view]").click()
    _ready(browser)
    _run(browser, "kartotek.map.getView().setCenter([660000, 6645000]); return kartotek.rendered()")
    WebDriverWait(browser, 10).until(lambda _: "map=660000,6645000," in browser.current_url)
    shared, state = browser.current_url, _state(browser)
    assert state["language"] == "sv" and state["within"] and len(state["listed"]) == 3
    assert state["chosen"].endswith(ITEM) and state["marked"] == [ITEM]
    assert _open(browser, shared) == 3
    assert _state(browser) == state and browser.current_url == shared


def test_back_takes_back_and_forward_brings_again(browser, site):
    before = browser.current_window_handle
    browser.switch_to.new_window("tab")  # in a tab with 50 entries, its most, Chromium itself mixes them up
    try:
        _open(browser, site)
        wait = WebDriverWait(browser, 20)
        steps = [_state(browser)]
        for item in (ITEM, "S2C_MSIL2A_20250422T101051_N0511_R022_T34WDA_20250422T141852"):
            _run(browser, f'return kartotek.select("sentinel-2-l2a", "{item}")')
            steps.append(_state(browser))
        _fill(browser, cloud="5")
        steps.append(_state(browser))
        for state in steps[-2::-1]:
            browser.back()
            wait.until(lambda _, state=state: _state(browser) == state)
        for state in steps[1:]:
            browser.forward()
            wait.until(lambda _, state=state: _state(browser) == state)
    finally:
        browser.close()
        browser.switch_to.window(before)


def test_address_that_can_not_be_read_asks_for_nothing(browser, site):
    garbage = "?lang=xx&from=yesterday&cloud=a&bbox=1,2&map=,,&item=nothing&collections=,"
    assert _open(browser, site + garbage) == 12
    state = _state(browser)
    assert state["language"] == "en" and state["chosen"] is None and not state["within"]


def test_item_of_a_link_that_is_not_there_is_told(browser, site):
    assert _open(browser, site + "?item=sentinel-2-l2a/gone") == 12
    assert "The item gone could not be shown" in _text(browser, "status")
    assert "failed" in browser.find_element("id", "status").get_attribute("class")


def test_search_that_fails_or_finds_nothing_is_told(browser, site):
    assert _open(browser, site + "?from=1999-01-01&to=1999-12-31") == 0
    assert _text(browser, "found").startswith("Nothing found")
    assert browser.find_element("id", "found").get_attribute("aria-live") == "polite"
    assert _open(browser, site + "?lang=sv&from=2024-02-01&to=2024-01-01") == 0
    assert "Listan kunde inte läsas" in _text(browser, "found")
    assert "(400 Bad Request)" in _text(browser, "found")  # after the server's own words

    _open(browser, site)
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": ["*/search*"]})
    try:
        _fill(browser, cloud="50")
        assert _text(browser, "found") == "The list could not be read: the server can’t be reached."
    finally:
        browser.execute_cdp_cmd("Network.setBlockedURLs", {"urls": []})
    browser.find_element("id", "more").click()  # "Try again"
    WebDriverWait(browser, 10).until(lambda _: _text(browser, "found").startswith("11 items"))
    browser.get_log("browser")


def test_page_speaks_swedish_and_english(browser, site):
    browser.execute_cdp_cmd(
        "Emulation.setUserAgentOverride", {"userAgent": "Chromium", "acceptLanguage": "sv-SE,sv;q=0.9,en;q=0.5"}
    )
    try:
        _open(browser, site)
        assert _state(browser)["language"] == "sv"  # the reader's own
        first = browser.find_element("css selector", "#list button").text
        assert "22 apr. 2025" in first and re.search(r"15\s%\smoln", first)
        assert browser.find_element("css selector", ".ol-zoom-in").get_attribute("aria-label") == "Zooma in"
    finally:
        browser.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": ""})
    browser.find_element("css selector", "#languages [lang=en]").click()
    _ready(browser)
    assert _state(browser)["language"] == "en" and "lang=en" in browser.current_url
    first = browser.find_element("css selector", "#list button").text
    assert "22 Apr 2025" in first and "15% cloud" in first


def test_both_languages_say_the_same_things():
    words = orjson.loads((VIEWER / "src/words.json").read_bytes())
    shapes = {
        language: {
            name: {form: set(re.findall(r"{(\w+)}", text)) for form, text in said.items()}
            if isinstance(said, dict)
            else set(re.findall(r"{(\w+)}", said))
            for name, said in named.items()
        }
        for language, named in words.items()
    }
    assert shapes["sv"] == shapes["en"]
    sources = "".join(path.read_text() for path in [*VIEWER.glob("src/*.js"), VIEWER / "index.html"])
    assert [name for name in words["en"] if f"'{name}'" not in sources and f'"{name}"' not in sources] == []


@pytest.mark.parametrize(("language", "scheme"), [("sv", "light"), ("en", "dark")])
def test_no_barrier_is_found_by_axe(browser, site, language, scheme):
    axe = VIEWER / "node_modules/axe-core/axe.min.js"
    assert axe.is_file(), "axe-core comes with the page's bundle: run python hatch_build.py"
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    try:
        # All there is to see: an area, an item on the map, and a list that has failed.
        seen = f"{site}?lang={language}&bbox=17,59,19,61&item=sentinel-2-l2a/{ITEM}"
        for address in (seen, f"{site}?lang={language}&from=2024-02-01&to=2024-01-01"):
            _open(browser, address)
            browser.execute_script(axe.read_text(encoding="utf-8"))
            found = _run(browser, "return axe.run()")
            assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found["violations"]] == []
        assert browser.execute_script("return window.reports") == []
        browser.execute_script("document.querySelector('main').append(document.createElement('img'))")
        planted = _run(browser, "return axe.run()")["violations"]
        assert [rule["id"] for rule in planted] == ["image-alt"]  # it does look
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
        browser.get_log("browser")


def test_policy_refuses_what_is_not_ours_and_the_listener_hears_it(browser, site):
    """Else the other tests' silence would say nothing."""
    _open(browser, site)
    assert browser.execute_script("return window.reports") == []
    browser.execute_script(
        """for (const make of [
            () => document.body.setAttribute("style", "color: red"),
            () => document.body.append(Object.assign(document.createElement("script"), { textContent: "1" })),
            () => document.body.append(Object.assign(new Image(), { src: "http://elsewhere.test/a.png" })),
            () => fetch("http://elsewhere.test/").catch(() => null),
        ]) make();"""
    )
    wait = WebDriverWait(browser, 10)
    wait.until(lambda _: len(browser.execute_script("return window.reports")) >= 4)
    refused = {report.split(":")[0] for report in browser.execute_script("return window.reports")}
    assert refused == {"style-src-attr", "script-src-elem", "img-src", "connect-src"}
    browser.get_log("browser")


def test_page_fits_a_small_screen_with_the_list_above_the_map(browser, site):
    size = {"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        _open(browser, site)
        boxes = browser.execute_script(
            """const box = (id) => document.getElementById(id).getBoundingClientRect().toJSON();
            return {items: box("items"), map: box("map"), across: document.documentElement.scrollWidth}"""
        )
        assert boxes["across"] == 320
        assert boxes["items"]["bottom"] <= boxes["map"]["top"] and boxes["map"]["bottom"] <= 640
        assert min(boxes["items"]["height"], boxes["map"]["height"]) > 200
        drawn = _run(browser, f'return kartotek.select("sentinel-2-l2a", "{ITEM}")')
        assert drawn["drawn"] > 0 and drawn["failed"] == 0
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


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


def _open(browser, address: str) -> int:
    """Go there anew, and wait until all that the address asks for is shown; how many items are listed."""
    browser.get("about:blank")
    browser.get(address)
    return _ready(browser)


def _ready(browser) -> int:
    return _run(browser, "return kartotek.ready")


def _listed(browser) -> list[str]:
    """The ids of the items in the list."""
    return browser.execute_script("return [...document.querySelectorAll('#list button')].map(({title}) => title)")


def _text(browser, name: str) -> str:
    return browser.find_element("id", name).text


def _fill(browser, **values: str) -> None:
    """Fill the form, a day as 2022-07-01, and send it."""
    for name, value in values.items():
        browser.execute_script(
            """const field = document.querySelector(`#search [name=${arguments[0]}]`);
            field.value = arguments[1];
            field.dispatchEvent(new InputEvent("input", { bubbles: true }));""",
            *(name, value),
        )
    browser.find_element("css selector", "#search [type=submit]").click()
    _ready(browser)


def _press(browser, *keys: str) -> None:
    """Press keys, wherever the keyboard is."""
    ActionChains(browser).send_keys(*keys).perform()


def _focused(browser) -> str:
    """The title of what the keyboard is at."""
    return browser.execute_script("return document.activeElement.title")


def _state(browser) -> dict[str, object]:
    """All that a reader sees of the page's state."""
    return browser.execute_script(
        """const view = kartotek.map.getView();
        return {
            language: document.documentElement.lang,
            listed: [...document.querySelectorAll("#list button")].map(({title}) => title),
            marked: [...document.querySelectorAll("#list [aria-current]")].map(({title}) => title),
            found: document.getElementById("found").textContent,
            form: [...document.querySelectorAll("#search input")].map(({type, value, checked}) => [value, checked]),
            within: !document.getElementById("within").hidden,
            chosen: kartotek.chosen,
            map: [...view.getCenter().map(Math.round), Number(view.getResolution().toPrecision(5))],
            title: document.title,
        }"""
    )


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
    time = entry.find_element("css selector", "time").get_attribute("datetime")
    return f"{platform} {level} {granule}" in entry.text and time.startswith(
        f"{sensed[:4]}-{sensed[4:6]}-{sensed[6:8]}"
    )


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
