"""Publishing: nothing visible unless whole. What crashes do is in tests/faults."""

import dataclasses
import hashlib
import os
import shutil
import time

import orjson
import pytest

import converters  # noqa: F401  before rasterio, as ever
from catalog.access import OPERATOR, PUBLIC
from catalog.search import MAX_LIMIT, Search
from catalog.store import Catalog
from converters import sensors
from converters.convert import Recipe, convert
from jobs.publish import publish
from jobs.rebuild import rebuild
from kartotek.errors import BadFile, Corrupted, KartotekError, StorageError
from kartotek.storage import MARKER, FolderStorage, open_storage


def visible(storage, catalog):
    """Contents of all that a reader sees, each file of it re-hashed from the storage."""
    contents = catalog.search(PUBLIC, Search(limit=MAX_LIMIT)).items
    for content in contents:
        item = orjson.loads(content)
        assert item["assets"]
        for asset in item["assets"].values():
            found = storage.read(asset["href"].removeprefix(MARKER))
            assert asset["file:checksum"] == "1220" + hashlib.sha256(found).hexdigest()
            assert asset["file:size"] == len(found)
        beside = f"{item['collection']}/{item['id']}/item.{hashlib.sha256(content).hexdigest()}.json"
        assert storage.read(beside) == content
    return list(contents)


@pytest.fixture(scope="module")
def whole(products, tmp_path_factory):
    """One product converted anew, in one thread; nobody has published it."""
    product = sensors.read(next(products.glob("*T34WET*.zip")))
    return convert(product, tmp_path_factory.mktemp("converted"), Recipe(threads=1))


@pytest.fixture
def converted(whole, tmp_path):
    """The same with three of its files, to be spoilt at will."""
    return copied(whole, tmp_path / "converted", "SCL", "thumbnail", "squares")


def copied(whole, folder, *names):
    folder.mkdir()
    item = whole.item.clone()
    for name in list(item.assets):
        if name in names:
            shutil.copy(whole.folder / item.assets[name].href, folder)
        else:
            del item.assets[name]
    return dataclasses.replace(whole, item=item, folder=folder)


@pytest.fixture
def storage(catalog, tmp_path, request):
    """A folder beside a catalog on one file, a bucket beside one on PostGIS."""
    if catalog.place.startswith("sqlite"):
        return FolderStorage(tmp_path / "store")
    return open_storage(request.getfixturevalue("bucket"))


def test_a_product_converted_again_gives_the_same_keys_and_the_same_item(whole, demo, storage, catalog):
    """By other threads in another process: byte for byte."""
    for replaced in (False, True, True):
        done = publish(whole, storage, catalog)
        assert done.replaced is replaced
        prefix = f"{done.collection}/{done.item}/"
        assert list(storage.keys(prefix)) == list(demo.storage.keys(prefix))
        assert visible(storage, catalog) == [demo.catalog.item(OPERATOR, done.collection, done.item)]
    keys = list(storage.keys(prefix))
    assert done.bytes == sum(storage.size(key) for key in keys if "/item." not in key)
    assert len(catalog.squares(PUBLIC, done.collection, done.item)) == len(whole.squares) > 0


def test_all_that_the_samples_became_is_whole_and_its_json_lies_beside_it(published):
    contents = visible(published.storage, published.catalog)
    assert len(contents) == 12
    named = {asset["href"].removeprefix(MARKER) for one in contents for asset in orjson.loads(one)["assets"].values()}
    keys = set(published.storage.keys())
    others = [key.rpartition("/")[2].partition(".")[0] for key in keys - named]
    assert sorted(others) == ["collection"] * 2 + ["item"] * 12
    for key in keys:
        assert hashlib.sha256(published.storage.read(key)).hexdigest() in key
    assert not list(published.local.root.rglob("*.part"))


class Rotten(FolderStorage):
    """A disk that spoils the nth file that is written to it."""

    def __init__(self, root, nth, how):
        super().__init__(root)
        self.left, self.how = nth, how

    def create(self, key, source):
        super().create(key, source)
        if self.left == 0:
            content = bytearray((self.root / key).read_bytes())
            if self.how == "flipped":
                content[len(content) // 2] ^= 1
            elif self.how == "short":
                del content[-1]
            elif self.how == "long":
                content += b"\0"
            elif self.how == "empty":
                content.clear()
            (self.root / key).write_bytes(content)
        self.left -= 1


@pytest.mark.parametrize("nth", range(4))
@pytest.mark.parametrize("how", ["flipped", "short", "long", "empty"])
def test_what_reads_back_otherwise_than_written_is_never_visible(converted, tmp_path, catalog, nth, how):
    rotten = Rotten(tmp_path / "store", nth, how)
    with pytest.raises(Corrupted, match="read back") as told:
        publish(converted, rotten, catalog)
    assert visible(rotten, catalog) == [] and catalog.collections(OPERATOR) == {}
    # What the message says to do helps.
    rotten.delete(str(told.value).partition(":")[0])
    publish(converted, rotten, catalog)
    assert len(visible(rotten, catalog)) == 1


def test_an_item_that_reads_back_badly_leaves_the_earlier_one(converted, tmp_path, catalog):
    publish(converted, FolderStorage(tmp_path / "store"), catalog)
    before = visible(FolderStorage(tmp_path / "store"), catalog)
    converted.item.properties["eo:cloud_cover"] = 1.0
    with pytest.raises(Corrupted):
        publish(converted, Rotten(tmp_path / "store", 3, "flipped"), catalog)
    assert visible(FolderStorage(tmp_path / "store"), catalog) == before


class Full(FolderStorage):
    """A disk that is full when the nth file comes."""

    def __init__(self, root, nth):
        super().__init__(root)
        self.left = nth

    def create(self, key, source):
        if self.left == 0:
            raise StorageError(f"can't write {key}: No space left on device")
        self.left -= 1
        super().create(key, source)


@pytest.mark.parametrize("nth", range(4))
def test_a_full_disk_leaves_nothing_visible_and_the_next_try_succeeds(converted, tmp_path, catalog, nth):
    with pytest.raises(StorageError, match="No space"):
        publish(converted, Full(tmp_path / "store", nth), catalog)
    storage = FolderStorage(tmp_path / "store")
    assert visible(storage, catalog) == []
    publish(converted, storage, catalog)
    assert len(visible(storage, catalog)) == 1


def spoil(path, how):
    content = bytearray(path.read_bytes())
    if how == "half":
        del content[len(content) // 2 :]
    elif how == "empty":
        content.clear()
    elif how == "no TIFF":
        content[:4] = b"oops"
    elif how == "directory":
        content[190:400] = bytes(210)
    elif how == "a pixel":
        content[-100] ^= 1
    elif how == "a picture":
        content[:] = path.with_name("thumbnail.png").read_bytes()
    path.write_bytes(content)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
@pytest.mark.parametrize("how", ["half", "empty", "no TIFF", "directory", "a pixel", "a picture"])
def test_a_file_that_was_spoilt_before_publishing_is_never_published(converted, storage, catalog, how):
    spoil(converted.folder / "SCL.tif", how)
    with pytest.raises(KartotekError, match="SCL"):
        publish(converted, storage, catalog)
    assert visible(storage, catalog) == []


def test_a_geotiff_that_is_not_cloud_optimized_is_never_published(converted, storage, catalog):
    """Though its checksum is right: strips instead of blocks, without overviews."""
    import rasterio

    path = converted.folder / "SCL.tif"
    with rasterio.open(path) as good:
        pixels, form = (
            good.read(),
            {name: good.profile[name] for name in ("width", "height", "count", "crs", "transform")},
        )
    with rasterio.open(path, "w", driver="GTiff", dtype="uint8", **form) as bad:
        bad.write(pixels)
    content = path.read_bytes()
    converted.item.assets["SCL"].extra_fields.update(
        {"file:checksum": "1220" + hashlib.sha256(content).hexdigest(), "file:size": len(content)}
    )
    with pytest.raises(BadFile, match=r"SCL\.tif: not a Cloud Optimized GeoTIFF"):
        publish(converted, storage, catalog)
    assert visible(storage, catalog) == [] and list(storage.keys()) == []


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "a b", "å", "x" * 201, "a\n"])
def test_an_id_that_could_lead_elsewhere_is_refused(converted, storage, catalog, name):
    converted.item.id = name
    with pytest.raises(BadFile, match="id"):
        publish(converted, storage, catalog)
    assert list(storage.keys()) == [] and visible(storage, catalog) == []


def test_publishing_does_not_change_what_it_is_given(converted, storage, catalog):
    before = converted.item.to_dict(transform_hrefs=False)
    publish(converted, storage, catalog)
    assert converted.item.to_dict(transform_hrefs=False) == before


class Forgetful(FolderStorage):
    """A storage that can't remove some of its files just now."""

    kept = ()

    def delete(self, key):
        if key in self.kept:
            raise StorageError(f"can't remove {key}")
        super().delete(key)


def test_of_what_was_published_before_the_last_is_rebuilt_though_its_json_lay_there_already(
    converted, tmp_path, make_database
):
    """A JSON that is left over from the first time is older than the second one's, which may be left too."""
    storage, catalog = Forgetful(tmp_path / "store"), Catalog(make_database("sqlite", migrated=True))
    for cloud, age in ((1.0, 200), (2.0, 100), (1.0, 0)):
        converted.item.properties["eo:cloud_cover"] = cloud
        publish(converted, storage, catalog)
        [content] = visible(storage, catalog)
        [json] = [key for key in storage.keys() if hashlib.sha256(content).hexdigest() in key]  # noqa: SIM118  no dict
        if age:
            storage.kept = (json,)
            os.utime(storage.root / json, (time.time() - age,) * 2)
    again = Catalog(make_database("sqlite", migrated=True))
    assert [found.entered for found in rebuild(storage, again)] == [True]
    assert visible(storage, again) == [content]
    catalog.close()
    again.close()
