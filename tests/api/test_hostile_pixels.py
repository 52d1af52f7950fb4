"""S3, S4: no request for pixels ends the server, takes longer than an answer may, or more memory; each 4xx says why."""

# ruff: noqa: E501  tables are read best by the line

import http.client
import json
import math
import random
import re
import time
import urllib.parse
import urllib.request
from pathlib import Path

import orjson
import psutil
import pytest

from catalog.access import PUBLIC
from catalog.search import Search

CACHE = 64
"""MB of decoded blocks that the server keeps."""
MOST = 256 << 20
"""Bytes above idle that an answer may take, beside the cache."""
PATIENCE = 10.0
"""Seconds that an answer may take."""
TRIES = 3
"""Times that a request is sent whose answer took longer: other tests, and other machines on the same processors, make answers
wait. What is too costly is too costly each time."""
L2A = "sentinel-2-l2a"
ALL = "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12,SCL"
SETS = ("WebMercatorQuad", "SWEREF99TM", "SWEREF99TM10")
NUMBERS = [
    "0", "1", "-1", "-0", "1e-6", "1e6", "1e-300", "1e308", "1e309", "-1e400", "nan", "NaN", "inf", "-Infinity", "5e-324", "9" * 400,
    "0" * 900, "0x10", "१२", "1_000", " 1", "1.5", "", "null", "true", "1e", "--1", "180", "90", "1000", "1001", "100.0000001", "4294967296",
]  # fmt: skip
TEXTS = [
    *NUMBERS, "\0", "%00", "'", "' OR 1=1 --", "${jndi:x}", "{{7*7}}", "<svg/onload=x>", "../" * 40, "å" * 300, "\u202e\ud800", "\U0001f600",
    "a" * 5_000, ",", ";" * 200, "," * 400, "[" * 500, '{"a":' * 100, "\x1b[2J\r\nX: y", "\x7f\x01", "clear", "true-colour", "default", "204",
]  # fmt: skip
CODES = [
    "EPSG:3006", "EPSG:3857", "EPSG:4326", "EPSG:32761", "EPSG:5041", "EPSG:3571", "EPSG:2154", "EPSG:9377", "EPSG:4978", "EPSG:5773", "EPSG:7789",
    "EPSG:22300", "EPSG:3785", "EPSG:900913", "EPSG:0", "EPSG:999999", "epsg:3035", "EPSG:٣٠٠٦", "ESRI:54009", "+proj=merc", "urn:ogc:def:crs:EPSG::3006",
]  # fmt: skip
DEEP = [
    "-" * 2_000 + "nir", "(" * 1_000 + "nir" + ")" * 1_000, "+".join(["(nir-1)**-15.5"] * 24), ";".join(["+".join(["exp(nir)"] * 48)] * 13),
    "+".join(["nir"] * 101), "sqrt(" * 60 + "abs(red)" + ")" * 60, "2**" * 100 + "2*nir", "((nir**16)**16)**16", "nir**17", "nir**1e309", "nir+1e309",
    "where(nir<red,exp(exp(exp(nir*1e9))),0/0*nir)", "min(" + ",".join(["nir", "red"] * 98) + ")", "nir-nir/(nir-nir)", "n১r", "nir²", "nir;" * 13,
    ";".join(f"nir/(red+{n})" for n in range(13)), "__import__('os')", "nir.__class__", "nir if red else 0", "a" * 2_048, "nir\0+red", "1+2", "",
]  # fmt: skip
WORLD = [[-180, -90], [180, -90], [180, 90], [-180, 90], [-180, -90]]


class About:
    """What is asked about: an item, and mosaics of all of them, each as it puts them together."""

    def __init__(self, item):
        self.box = item["bbox"]
        self.item = f"/collections/{L2A}/items/{item['id']}"
        self.tiles = f"/tiles/{L2A}/{item['id']}"
        self.time = item["properties"]["datetime"]
        self.mosaics = []


def comb(box, count, *, down=True):
    """A polygon of so many positions whose edges go from one side of a box to the other and back."""
    west, south, east, north = box if down else (box[1], box[0], box[3], box[2])
    step = (east - west) / count
    teeth = [[west + n * step, south if n % 2 else north] for n in range(count)]
    ring = [*teeth, [east, south - step], [west, south - step], teeth[0]]
    return {"type": "Polygon", "coordinates": [ring if down else [[x, y] for y, x in ring]]}


def star(box, count, inner):
    """A polygon with spikes that all but meet."""
    x, y, far = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, min(box[2] - box[0], box[3] - box[1]) / 2.1
    turns = [(2 * math.pi * n / count, far * (1 if n % 2 else inner)) for n in range(count)]
    ring = [[x + away * math.cos(turn), y + away * math.sin(turn)] for turn, away in turns]
    return {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}


def rectangle(west, south, east, north):
    return {
        "type": "Polygon",
        "coordinates": [[[west, south], [east, south], [east, north], [west, north], [west, south]]],
    }


def features(areas):
    return {
        "type": "FeatureCollection",
        "features": [{"type": "Feature", "properties": {}, "geometry": area} for area in areas],
    }


def worst(about):
    """What costs most of all that is allowed, or did before it was refused; and what came to an error: (method, target, body)."""
    west, _, east, north = about.box
    whole, country = rectangle(*about.box), [5.0, 50.0, 30.0, 70.0]
    sliver = rectangle((west + east) / 2, 50, (west + east) / 2 + 1e-4, 70)
    far = {"type": "MultiPolygon", "coordinates": [rectangle(5, 50, 5.001, 50.001)["coordinates"], rectangle(30, 69, 30.001, 69.001)["coordinates"]]}  # fmt: skip
    areas = [
        features([comb(about.box, 4_900), comb(about.box, 4_900, down=False)]), features([comb((-180, -80, 180, 80), 4_900), comb((-170, -70, 170, 70), 4_900, down=False)]),
        comb((-180, -60, 180, 60), 9_900), comb(about.box, 9_900), comb(about.box, 800), star(about.box, 9_900, 0.01), star(about.box, 9_900, 1e-4),
        features([comb(country, 95)] * 100), features([rectangle(*country)] * 100), features([whole] * 100), features([sliver] * 100), features([far] * 100),
        {"type": "Polygon", "coordinates": [WORLD]},
    ]  # fmt: skip
    for at in (about.item, *about.mosaics):
        for area in areas:
            yield "POST", f"{at}/statistics?assets={ALL.replace(',SCL', '') if area is areas[10] else 'B04'}", area
        for area in (areas[2], areas[4], areas[6], areas[-1]):
            yield "POST", f"{at}/crop.png?resolution=160", area
        for form, query in (
            ("tif", f"assets={ALL.replace(',SCL', '')}"), ("npy", "assets=B04&resolution=1e-6"), ("npy", "assets=B04&resolution=1e6"), ("png", ""), ("webp", ""),
            *(("tif", urllib.parse.urlencode({"expression": text})) for text in (DEEP[2], DEEP[-8], ";".join([DEEP[2], f"{DEEP[2]}+1", f"{DEEP[2]}+2"]))),
        ):  # fmt: skip
            yield "POST", f"{at}/crop.{form}?{query}", whole
        for text in (DEEP[2], DEEP[-8]):
            yield "POST", f"{at}/statistics?{urllib.parse.urlencode({'expression': text, 'bins': 1000})}", whole
    for mosaic in about.mosaics:
        for level in range(18):
            x, y = column(west, level), row(north, level)
            yield "GET", f"{mosaic}/tiles/WebMercatorQuad/{level}/{x}/{y}.png", None
    yield (
        "GET",
        f"/wmts?service=WMTS&request=GetTile&layer={L2A}:{'x' * 300}&tilematrixset=SWEREF99TM&tilematrix=0&tilerow=0&tilecol=0",
        None,
    )
    yield "GET", f"/wmts/1.0.0/{L2A}:{'x' * 300}/default/default/SWEREF99TM/0/0/0.png", None


def column(longitude, level):
    return int((longitude + 180) / 360 * 2**level)


def row(latitude, level):
    return int((1 - math.asinh(math.tan(math.radians(latitude))) / math.pi) / 2 * 2**level)


def areas(chance, about):
    """A body of an area, or what looks like one."""
    west, south, east, north = about.box
    number = chance.choice([0, 1e308, -1e308, 5e-324, 91, 1e17, None, "x", [], True])
    ring = [[chance.uniform(west, east), chance.uniform(south, north)] for _ in range(chance.choice([3, 50, 2_000]))]
    one = chance.choice(
        [
            rectangle(*about.box), rectangle(west, south, west + 1e-7, south + 1e-7), rectangle(-180, -90, 180, 90), rectangle(170, 60, -170, 70),
            rectangle(west, 89.9, east, 90), rectangle(-180, -90, -179, -89), rectangle(west, south, west, north), rectangle(west, south, 400, north),
            comb(about.box, chance.choice([10, 500, 9_900])), comb((-180, -85, 180, 85), chance.choice([10, 9_900])), star(about.box, chance.choice([5, 999, 9_999]), 1e-3),
            {"type": "Polygon", "coordinates": [[*ring, ring[0]]]}, {"type": "Polygon", "coordinates": [ring]}, {"type": "Polygon", "coordinates": []},
            {"type": "Polygon", "coordinates": [[]]}, {"type": "Polygon", "coordinates": [[[number, number]] * 5]}, {"type": "Polygon", "coordinates": number},
            {"type": "Polygon", "coordinates": [[[x, y, chance.choice([0, 1e308, None])] for x, y in WORLD]]}, {"type": "MultiPolygon", "coordinates": []},
            {"type": "Polygon", "coordinates": [[[west, south], [east, north], [west, north], [east, south], [west, south]]]}, {"type": "Point", "coordinates": [west, south]},
            {"type": "Polygon", "coordinates": [WORLD, [[west, south], [east, south], [east, north], [west, south]]]}, {}, {"type": number}, {"$ref": "http://x"},
        ]
    )  # fmt: skip
    return chance.choice(
        [one, one, one, {"type": "Feature", "geometry": one, "id": number}, features([one] * chance.choice([0, 1, 3, 100, 101])), {"type": "FeatureCollection", "features": number}]
    )  # fmt: skip


def query(chance, about, *names):
    """Some of the parameters of pixels, most of them wrong."""
    values = {
        "render": ["true-colour", "x" * 200, "x" * 201], "assets": ["B04", "B04,B03,B02", "SCL", "SCL,B04", ALL, f"{ALL},B10", "red", "B04," * 99, "B04\0"],
        "index": ["ndvi", "NDVI", "ndvi,ndwi,ndmi,nbr", "x"], "expression": DEEP, "rescale": ["0,0.3", "1,1", "nan,1", "-1e308,1e308", "0,5e-324", "0,1,2", "inf,0"],
        "gamma": ["0.1", "10", "0.0999", "nan", "1e309"], "colormap_name": ["viridis", "VIRIDIS", "x" * 41], "mask": ["clear", "4,5,6", "65535", "65536", "-1", "१", ",".join(map(str, range(99)))],
        "empty": ["200", "204", "500"], "v": ["x" * 65], "resolution": ["1e-6", "1e6", "0", "10", "60", "-10", "1e-7"], "crs": CODES, "bins": ["1", "1000", "1001", "0"],
        "bbox": [",".join(map(str, about.box)), "-180,-90,180,90", "170,60,-170,70", "0,0,0,0", "nan,nan,nan,nan", "1,2,3", ",".join(["1"] * 90), "-180,89,180,90"],
        "percentiles": ["0,100", ",".join(["50"] * 20), ",".join(["5"] * 21), "nan", "-1", "100.0001"], "range": ["0,1", "1,0", "-1e308,1e308", "0,5e-324", "nan,nan"],
        "lon": [str(about.box[0] + 0.01), "180", "-180", "180.1"], "lat": [str(about.box[1] + 0.01), "90", "-90", "91"], "coord": ["600000,6600000", "1e9,1e9", "-0,1e-320", "1,2,3", "nan,nan"],
        "datetime": ["../..", "0001-01-01/9999-12-31", about.time, "../9999-12-31T23:59:59Z", "2024-02-30", "0000-01-01", "2020-01-01/2019-01-01", "9999-12-31T23:59:59-14:00"],
        "collections": [L2A, f"{L2A},sentinel-1-grd", f"{L2A}," * 999, "x"], "ids": ["x", "x," * 1_001], "intersects": [json.dumps(areas(chance, about))[:20_000] if "intersects" in names else ""],
        "filter": ["eo:cloud_cover<50", "NOT " * 60 + "TRUE", "(" * 200 + "TRUE" + ")" * 200, " OR ".join(["eo:cloud_cover<50"] * 90), "S_INTERSECTS(geometry,POINT(0 0))"],
        "filter-lang": ["cql2-text", "cql2-json", "x"], "order": ["newest", "oldest", "clearest", "median", "x"], "tms": SETS, "form": ["png", "tif", "exe"], "scale": ["1", "2", "3"], "limit": ["1", "10000", "99999"],
        "token": ["x"], "fields": ["id"],
    }  # fmt: skip
    chosen = chance.sample(names, chance.choice([0, 1, 1, 2, min(4, len(names))]))
    found = [(name, chance.choice(values[name] if chance.random() < 0.85 else TEXTS)) for name in chosen]
    if chance.random() < 0.05:
        found *= 50
    return urllib.parse.urlencode([(name, value.encode("utf-8", "surrogatepass")) for name, value in found])[:50_000]


LAYERS = ("render", "assets", "index", "expression", "mask")
DISPLAY = (*LAYERS, "rescale", "gamma", "colormap_name")
DEFINED = ("collections", "ids", "bbox", "intersects", "datetime", "filter", "filter-lang", "order")


def tile(chance, about):
    """z/x/y, near the item or anywhere."""
    level = chance.choice([*range(18), 24, 30])
    x, y = column(about.box[0], level), row(about.box[3], level)
    if chance.random() < 0.5:
        z, x, y = (chance.choice([*NUMBERS, "31", "2147483648", str(2**level)]) for _ in range(3))
        return "/".join(urllib.parse.quote(part, safe="") for part in (z, x, y))
    return f"{level}/{x}/{y}"


def hostile(chance, about):
    """A request that nobody who means well sends: (method, target, body)."""
    tms = chance.choice([*SETS, *SETS, "x", "../x"])
    form, place = chance.choice(["png", "webp", "jpg", "tif", "npy", "json", "exe", "a" * 300]), tile(chance, about)
    at = chance.choice([about.item, *about.mosaics])
    kvp = {
        "SERVICE": ["WMTS", "wmts", "WMS"], "REQUEST": ["GetTile", "gettile", "GetCapabilities", "GetFeatureInfo"], "LAYER": [f"{L2A}:true-colour", f"{L2A}:x", "mosaic:x", f"{L2A}:{'x' * 300}", ":", "x"],
        "STYLE": ["default", "", "x"], "FORMAT": ["image/png", "image/webp", "text/html"], "TILEMATRIXSET": SETS, "TILEMATRIX": NUMBERS, "TILEROW": NUMBERS, "TILECOL": NUMBERS, "TIME": ["default", "../..", "x", about.time],
    }  # fmt: skip
    said = [
        (chance.choice([name, name.lower(), name.title()]), chance.choice(one if chance.random() < 0.9 else TEXTS))
        for name, one in kvp.items()
        if chance.random() < 0.95
    ]
    said += chance.sample(said, min(len(said), chance.choice([0, 0, 2])))
    text = urllib.parse.quote(chance.choice(TEXTS).encode("utf-8", "surrogatepass"), safe="")

    def member():
        return {name: chance.choice([*TEXTS, *map(float, range(3)), None, [], {}, [["x"] * 99], DEEP[1], areas(chance, about), 10**30]) for name in chance.sample([*DEFINED, *DISPLAY], 3)}  # fmt: skip

    return chance.choice(
        [
            lambda: ("GET", f"{about.tiles}/{tms}/{place}.{form}?{query(chance, about, *DISPLAY, 'empty', 'v')}", None),
            lambda: ("GET", f"{about.tiles}/tilejson.json?{query(chance, about, *DISPLAY, 'tms', 'form')}", None),
            lambda: ("GET", f"{at}/point?{query(chance, about, *LAYERS, 'lon', 'lat', 'coord', 'crs', 'datetime')}", None),
            lambda: ("GET", f"{at}/point?lon={about.box[0] + 0.02}&lat={about.box[1] + 0.02}&{query(chance, about, *LAYERS)}", None),
            lambda: ("GET", f"{at}/crop.{form}?{query(chance, about, *DISPLAY, 'bbox', 'bbox', 'resolution', 'crs', 'datetime')}", None),
            lambda: ("POST", f"{at}/crop.{form}?{query(chance, about, *DISPLAY, 'resolution', 'crs', 'datetime')}", areas(chance, about)),
            lambda: ("POST", f"{at}/statistics?{query(chance, about, *LAYERS, 'percentiles', 'bins', 'range', 'datetime')}", areas(chance, about)),
            lambda: ("POST", "/mosaics", {"collections": [L2A], **member()}),
            lambda: ("POST", "/mosaics", {"collections": [L2A], "mask": ",".join(map(str, range(60_000)))}),
            lambda: ("GET", f"/mosaics/inline/tiles/{tms}/{place}.{form}?{query(chance, about, *DEFINED, *DISPLAY, 'empty')}", None),
            lambda: ("GET", f"/mosaics/inline/tiles/WebMercatorQuad/{tile(chance, about)}.png?collections={L2A}&{query(chance, about, *DEFINED[1:], *DISPLAY)}", None),
            lambda: ("GET", f"{chance.choice(about.mosaics)}/tiles/{tms}/{place}.{form}?{query(chance, about, *DISPLAY, 'datetime', 'empty', 'v')}", None),
            lambda: ("GET", f"{chance.choice(about.mosaics)}/items?{query(chance, about, 'datetime', 'limit', 'token', 'fields')}", None),
            lambda: ("GET", f"{chance.choice(about.mosaics)}/tilejson.json?{query(chance, about, *DISPLAY, 'tms', 'form', 'datetime')}", None),
            lambda: ("GET", f"/mosaics/{text}{chance.choice(['', '/items', '/tilejson.json', '/point?lon=1&lat=1', '/crop.png?bbox=1,1,2,2'])}", None),
            lambda: ("GET", "/wmts?" + urllib.parse.urlencode([(name, one.encode("utf-8", "surrogatepass")) for name, one in said])[:50_000], None),
            lambda: ("GET", f"/wmts/1.0.0/{chance.choice([f'{L2A}:true-colour', f'{L2A}:{text}', text])}/{chance.choice(['default', text])}/{chance.choice(['default', text])}/{tms}/{place}.{form}"[:60_000], None),
            lambda: ("GET", f"/collections/{chance.choice([L2A, text])}/{chance.choice(['map/tiles', f'styles/{text}/map/tiles'])}{chance.choice(['', '/SWEREF99TM', f'/{text}'])}", None),
            lambda: ("GET", f"/tileMatrixSets/{text}", None),
            lambda: ("GET", f"/collections/{L2A}/legend.{chance.choice(['png', 'json', 'exe'])}?{query(chance, about, *DISPLAY, 'scale')}", None),
        ]
    )()  # fmt: skip


class Asking:
    """Sends one request after the other, and looks at the server after each."""

    def __init__(self, server, about):
        self.server, self.about, self.idle = server, about, 0
        self.statuses, self.slowest, self.highest = [], (0.0, ""), (0, "")
        self.status = Path(f"/proc/{server.process.pid}/status")

    def memory(self, name):
        [kilobytes] = re.findall(rf"{name}:\s+(\d+) kB", self.status.read_text())
        return int(kilobytes) << 10

    def ask(self, method, target, body):
        """Its answer: (status, body)."""
        for _ in range(TRIES):
            took, status, found = self.ask_once(method, target, body)
            if took <= PATIENCE:
                break
        self.slowest = max(self.slowest, (took, f"{method} {target[:300]}"))
        return status, found

    def ask_once(self, method, target, body):
        # From here on the highest is this answer's.
        self.status.with_name("clear_refs").write_text("5")
        connection = http.client.HTTPConnection(*self.server.place, timeout=120)
        content = None if body is None else json.dumps(body).encode("utf-8", "surrogatepass")
        began, worked = time.perf_counter(), self.worked()
        connection.request(method, target, content, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        found = answer.read()
        took, worked = time.perf_counter() - began, self.worked() - worked
        what = f"{method} {target[:300]} {(content or b'')[:300]!r}"
        if took > PATIENCE:
            print(f"{took:.1f} s, {worked:.1f} of the processors: {what}; {answer.headers.get('Server-Timing')}")
        self.highest = max(self.highest, (self.memory("VmHWM"), what))
        connection.close()
        self.statuses.append(answer.status)
        assert answer.status < 500, (answer.status, found[:500], what)
        if answer.status >= 400:
            kind = answer.headers["Content-Type"]
            reason = json.loads(found)["detail"] if "json" in kind else re.search(rb"ExceptionText>(.+?)<", found)[1]
            assert len(reason) > 5, (found, what)
        return took, answer.status, found

    def worked(self):
        """Seconds that the server has had of the processors."""
        times = psutil.Process(self.server.process.pid).cpu_times()
        return times.user + times.system

    def check(self):
        """What all answers together have kept to."""
        assert self.server.process.poll() is None
        counts = {status: self.statuses.count(status) for status in sorted(set(self.statuses))}
        grown = self.highest[0] - self.idle
        print(
            f"{len(self.statuses)} requests: {counts}; {self.slowest[0]:.1f} s at most; {grown >> 20} MB more at most"
        )
        assert self.slowest[0] <= PATIENCE, self.slowest
        assert grown <= MOST + (CACHE << 20), (grown >> 20, self.highest)


@pytest.fixture
def asked(serving, published):
    """A server that has loaded and compiled what it needs, asked to be looked at after each request."""
    item = orjson.loads(published.catalog.search(PUBLIC, Search(collections=(L2A,), limit=1)).items[0])
    about = About(item)
    with serving(published.settings, KARTOTEK_CACHE_MB=str(CACHE)) as server:
        made = Asking(server, about)
        teeth = comb((10, 55, 25, 69), 600, down=False)["coordinates"][0]
        split = {"type": "Polygon", "coordinates": [[[round(x, 3), round(y, 3)] for x, y in teeth]]}
        for more in ({"order": "median"}, {"order": "clearest"}, {"intersects": split}):
            status, content = made.ask("POST", "/mosaics", {"collections": [L2A], "mask": "clear", **more})
            assert status == 201, content
            about.mosaics.append(f"/mosaics/{json.loads(content)['id']}")
        for at in (about.item, about.mosaics[0]):
            assert made.ask("POST", f"{at}/statistics?index=ndvi", rectangle(*about.box))[0] == 200
            assert made.ask("POST", f"{at}/crop.png", rectangle(*about.box))[0] == 200
        made.idle = made.memory("VmRSS")
        yield made
        made.check()
        assert "Traceback" not in server.stop()


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.full)])
def test_what_costs_most_has_its_ceiling(asked, every):
    for request in list(worst(asked.about))[::-every]:
        asked.ask(*request)
    assert {200, 400} <= set(asked.statuses)


@pytest.mark.parametrize("count", [250, pytest.param(6_000, marks=pytest.mark.full)])
def test_hostile_requests_for_pixels_are_answered_and_end_nothing(asked, count):
    chance = random.Random(count)
    for _ in range(count):
        asked.ask(*hostile(chance, asked.about))
    for status in (200, 400, 404):
        assert asked.statuses.count(status) > count / 40, status
