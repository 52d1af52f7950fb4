import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
import shapely
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.exc import IntegrityError

from catalog import dialects, models, revisions
from catalog.access import OPERATOR, PUBLIC
from catalog.search import Search
from catalog.store import Catalog
from kartotek.errors import BadRequest, BadSettings, CatalogError, NotFound, NotMigrated
from kartotek.squares import Spread, Square

ROOT = Path(__file__).resolve().parents[2]
WORLD = shapely.box(-180, -90, 180, 90)


def square(east, *, valid=100):
    spread = Spread(valid, 0.25, 0.1, (valid, *[0] * 39))
    return Square(east=east, north=6_600_000, valid=valid, clear=valid, classes={4: valid}, indices={"NDVI": spread})


def found(catalog, **asked):
    return [orjson.loads(content)["id"] for content in catalog.search(OPERATOR, Search(**asked)).items]


def url(catalog):
    return catalog.place


def rows(connection, table):
    return connection.scalar(text(f"SELECT count(*) FROM {table}"))


def places(catalog):
    """The table that is the index of places, on SQLite."""
    return ["items_months"] if catalog._connections.engine.dialect.name == "sqlite" else []


def test_an_item_comes_out_byte_for_byte_as_it_went_in(catalog, make_item, make_collection):
    content, kind = make_item(title="Å, ö — and 🛰"), make_collection()
    assert catalog.publish(content, collection=kind) is False
    assert catalog.item(PUBLIC, "generated", "item") == content
    assert catalog.search(PUBLIC, Search()).items == (content,)
    assert catalog.collection(PUBLIC, "generated") == kind
    assert list(catalog.collections(PUBLIC).values()) == [kind]
    assert catalog.counts(PUBLIC) == {"generated": 1}


def test_publishing_again_takes_the_place_of_the_earlier_item_and_its_squares(catalog, make_item, make_collection):
    kind, north = make_collection(), shapely.box(20, 67, 21, 68)
    catalog.publish(make_item(), collection=kind, counted=[square(0), square(5000)])
    later = make_item(footprint=north, at=datetime(2025, 1, 1, tzinfo=UTC))
    assert catalog.publish(later, collection=kind, counted=[square(10_000, valid=7)]) is True
    assert catalog.item(PUBLIC, "generated", "item") == later
    assert catalog.counts(PUBLIC) == {"generated": 1}
    assert [(row["east"], row["valid"]) for row in catalog.squares(PUBLIC, "generated", "item")] == [(10_000, 7)]
    # Where it was, and when, it is found no more.
    assert found(catalog, area=shapely.box(17, 59, 18, 60)) == []
    assert found(catalog, end=datetime(2024, 12, 1, tzinfo=UTC)) == []
    assert found(catalog, area=north) == ["item"]


def test_a_name_with_a_zero_in_it_is_not_there_and_can_not_come_in(catalog, make_item, make_collection):
    statements = []
    event.listen(catalog._connections.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for ask in (
        lambda: catalog.collection(OPERATOR, "gene\0rated"),
        lambda: catalog.item(OPERATOR, "generated", "\0"),
        lambda: catalog.squares(OPERATOR, "\0", "item"),
    ):
        with pytest.raises(NotFound):
            ask()
    assert statements == []
    with pytest.raises(BadRequest):
        catalog.publish(make_item("it\0em"), collection=make_collection())
    with pytest.raises(BadRequest):
        catalog.put_collection(make_collection("gene\0rated"))


def test_squares_come_out_as_they_were_counted(catalog, make_item, make_collection):
    catalog.publish(make_item(), collection=make_collection(), counted=[square(5000), square(0)])
    rows = catalog.squares(PUBLIC, "generated", "item")
    assert [row["east"] for row in rows] == [0, 5000]
    assert rows[0]["classes"] == {"4": 100}
    assert rows[0]["indices"]["NDVI"]["mean"] == 0.25
    with pytest.raises(NotFound):
        catalog.squares(PUBLIC, "generated", "no such")


def test_a_deleted_item_is_gone_from_every_answer(catalog, make_item, make_collection):
    catalog.publish(make_item("a"), collection=make_collection(), counted=[square(0)])
    catalog.publish(make_item("b"), collection=make_collection(), counted=[square(0)])
    catalog.delete_item("generated", "a")
    assert found(catalog) == found(catalog, area=WORLD) == ["b"]
    assert catalog.counts(OPERATOR) == {"generated": 1}
    for ask in (catalog.item, catalog.squares):
        with pytest.raises(NotFound):
            ask(OPERATOR, "generated", "a")
    with pytest.raises(NotFound):
        catalog.delete_item("generated", "a")
    with create_engine(url(catalog)).connect() as connection:
        assert {rows(connection, table) for table in ("items", "squares", *places(catalog))} == {1}


def test_an_error_in_the_middle_leaves_nothing(catalog, make_item, make_collection):
    with pytest.raises(CatalogError):
        catalog.publish(make_item(), collection=make_collection(), counted=[square(0), square(0)])
    assert found(catalog) == found(catalog, area=WORLD) == list(catalog.collections(OPERATOR)) == []
    with create_engine(url(catalog)).connect() as connection:
        for table in ("collections", "items", "squares", *places(catalog)):
            assert rows(connection, table) == 0


def test_an_error_in_the_middle_of_a_replacement_leaves_what_was_there(catalog, make_item, make_collection):
    first = make_item()
    catalog.publish(first, collection=make_collection(), counted=[square(0)])
    with pytest.raises(CatalogError):
        catalog.publish(
            make_item(footprint=shapely.box(0, 0, 1, 1)), collection=make_collection(), counted=[square(5), square(5)]
        )
    assert catalog.item(PUBLIC, "generated", "item") == first
    assert found(catalog, area=shapely.box(17.4, 59.4, 17.5, 59.5)) == ["item"]
    assert [row["east"] for row in catalog.squares(PUBLIC, "generated", "item")] == [0]


def test_rows_hang_together_by_foreign_keys(catalog, make_item, make_collection):
    catalog.publish(make_item(), collection=make_collection(), counted=[square(0)])
    with catalog._connections.engine.connect() as connection:
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            connection.execute(models.items.update().values(collection="no such"))
        connection.rollback()
        with connection.begin():
            connection.execute(models.collections.delete())
        assert connection.scalar(text("SELECT count(*) FROM items")) == 0
        assert connection.scalar(text("SELECT count(*) FROM squares")) == 0


def test_a_collection_keeps_its_privacy_until_told_otherwise(catalog, make_item, make_collection):
    catalog.put_collection(make_collection(), private=True)
    catalog.put_collection(make_collection(title="Another title"))
    assert catalog.collections(PUBLIC) == {}
    assert b"Another title" in catalog.collection(OPERATOR, "generated")
    # Publishing into it brings its text along, and leaves its privacy.
    catalog.publish(make_item(), collection=make_collection(title="A third title"))
    assert catalog.collections(PUBLIC) == {} and found(catalog) == ["item"]
    assert b"A third title" in catalog.collection(OPERATOR, "generated")
    assert catalog.search(PUBLIC, Search()).items == ()
    catalog.put_collection(make_collection(), private=False)
    assert len(catalog.search(PUBLIC, Search()).items) == 1
    catalog.put_collection(make_collection("other"))
    assert len(catalog.collections(PUBLIC)) == 2


def test_publishing_refreshes_a_collection_and_writes_nothing_where_it_is_the_same(catalog, make_item, make_collection):
    kind = make_collection(renders={"true-colour": {"assets": ["B04"]}})
    catalog.publish(make_item(), collection=make_collection())
    catalog.publish(make_item("another"), collection=kind)
    assert catalog.collection(PUBLIC, "generated") == kind
    said = []
    event.listen(catalog._connections.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    catalog.publish(make_item("a third"), collection=kind)
    catalog.put_collection(kind)
    assert any("INSERT INTO items" in statement for statement in said)
    assert not any(re.match("(INSERT INTO|UPDATE) collections", statement) for statement in said)


STRAY = [
    b'{"links": [], "id": "generated"}',
    b'{"id": "generated", "links": [] }\n',
    b'{"id": "generated"}',
    b'{"id":"generated","links":[{"rel":"self","href":"http://elsewhere/"},{"rel":"root","href":"http://elsewhere/"}]}',
    b'{"id":"generated","links":[],"extent":{"a":[]}}',
]


@pytest.mark.parametrize("content", STRAY)
def test_a_collection_is_stored_with_its_links_last_and_without_the_servers(catalog, make_item, content):
    wanted = {"id": "generated", "links": [], **({"extent": {"a": []}} if b"extent" in content else {})}
    for enter in (catalog.put_collection, lambda given: catalog.publish(make_item(), collection=given)):
        enter(content)
        found = catalog.collection(PUBLIC, "generated")
        assert orjson.loads(found) == wanted and found.endswith(b'"links":[]}')


def test_links_to_elsewhere_are_kept(catalog):
    link = {"rel": "license", "href": "http://elsewhere/"}
    catalog.put_collection(orjson.dumps({"links": [link, {"rel": "items", "href": "http://here/"}], "id": "generated"}))
    assert orjson.loads(catalog.collection(PUBLIC, "generated"))["links"] == [link]


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[]", b"{}", b'{"id": 3}', b'{"id":"x","links":{}}',
                                     b'{"id":"x","links":["self"]}'])  # fmt: skip
def test_what_is_no_collection_and_no_item_is_refused(catalog, make_item, content):
    with pytest.raises(BadRequest):
        catalog.put_collection(content)
    with pytest.raises(BadRequest):
        catalog.publish(make_item(), collection=content)
    assert catalog.collections(OPERATOR) == {} and found(catalog) == []


def test_an_item_in_another_form_than_lies_beside_its_files_is_refused(catalog, make_item, make_collection):
    item = orjson.loads(make_item())
    for other in (
        make_item() + b"\n",
        orjson.dumps({"links": [], **{name: value for name, value in item.items() if name != "links"}}),
        orjson.dumps({**item, "links": [{"rel": "self", "href": "http://elsewhere/"}]}),
        orjson.dumps({**item, "assets": {}, "last": 1}),
    ):
        with pytest.raises(BadRequest):
            catalog.publish(other, collection=make_collection())
    assert found(catalog) == []


def test_items_of_one_id_in_two_collections_are_two(catalog, make_item, make_collection):
    for name in ("a", "b"):
        catalog.publish(make_item(collection=name), collection=make_collection(name))
    assert catalog.counts(PUBLIC) == {"a": 1, "b": 1}
    catalog.delete_item("a", "item")
    assert catalog.item(PUBLIC, "b", "item")


WRITER = """
import sys, threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from catalog.store import Catalog
from kartotek.squares import Spread, Square
url, number, count, item, collection = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:]
catalog = Catalog(url)
squares = [Square(east=east, north=0, valid=1, clear=1, classes={4: 1}, indices={}) for east in range(0, 25000, 5000)]
failed = []
def write(thread):
    try:
        for place in range(count):
            name = f"{number}-{thread}-{place:03}"
            catalog.publish(item.replace("NAME", name).encode(), collection=collection.encode(), counted=squares)
            # One that all writers write: the last one stays, whichever it is.
            if place % 10 == 0:
                shared = item.replace("NAME", "shared").encode()
                catalog.publish(shared, collection=collection.encode(), counted=squares)
    except Exception as error:
        failed.append(repr(error))
threads = [threading.Thread(target=write, args=[thread]) for thread in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
sys.exit("; ".join(failed) or 0)
"""


@pytest.mark.parametrize("each", [30, pytest.param(1250, marks=pytest.mark.full)])
def test_writers_and_readers_at_once_never_fail_on_each_other(catalog, make_item, make_collection, each):
    """4 processes of 2 threads write items while 4 threads search: no error, and nothing is lost."""
    item, kind = make_item("NAME").decode(), make_collection().decode()
    done, searches = threading.Event(), []

    def search():
        count = 0
        while not done.wait(0.02):
            page = catalog.search(PUBLIC, Search(area=WORLD, limit=500))
            assert len(page.items) >= count
            count = len(page.items)
            searches.append(count)

    command = [sys.executable, "-c", WRITER, url(catalog)]
    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(search) for _ in range(4)]
        writers = [
            subprocess.Popen([*command, str(number), str(each), item, kind], stderr=subprocess.PIPE, text=True)
            for number in range(4)
        ]
        try:
            said = [writer.communicate(timeout=1200)[1] for writer in writers]
        finally:
            done.set()
        for reader in readers:
            reader.result()
    assert [writer.returncode for writer in writers] == [0] * 4, said
    assert catalog.counts(PUBLIC) == {"generated": 8 * each + 1}
    assert len(found(catalog, area=WORLD, limit=10_000)) == min(8 * each + 1, 10_000)
    with create_engine(url(catalog)).connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM squares")) == (8 * each + 1) * 5
        if places(catalog):
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
    assert len(searches) > 10


def test_processes_that_start_at_once_make_the_tables_of_an_empty_database_once(tmp_path):
    script = "import sys; from catalog.store import Catalog; Catalog(sys.argv[1]).ready()"
    command = [sys.executable, "-c", script, f"sqlite:///{tmp_path / 'new.db'}"]
    processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * 3, said


def test_migrations_go_up_and_down_and_up(tmp_path, make_item, make_collection):
    made = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    with pytest.raises(NotMigrated, match=r"no such database.*kartotek migrate"):
        made.check()
    assert list(tmp_path.iterdir()) == []  # who looks makes none
    (tmp_path / "catalog.db").touch()
    with pytest.raises(NotMigrated, match=r"revision none.*kartotek migrate"):
        made.check()
    for _ in range(2):
        made.migrate()
        made.check()
        made.migrate()  # nothing to do
        made.publish(make_item(), collection=make_collection(), counted=[square(0)])
        made.migrate("base")
        with pytest.raises(NotMigrated):
            made.check()
        left = set(inspect(create_engine(url(made))).get_table_names())
        assert left == {"alembic_version"}
    made.migrate("0001")
    assert made.counts(OPERATOR) == {}
    made.close()


LATER = """
from alembic import op
revision, down_revision, branch_labels, depends_on = "{0}", "{1}", None, None
def upgrade():
    op.execute("CREATE TABLE made_by_{0} (x)")
    {2}
"""


@pytest.mark.parametrize("before", ["base", "0001"])
def test_migrations_of_which_one_fails_leave_the_tables_as_they_were(tmp_path, monkeypatch, before):
    made, folder = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}"), tmp_path / "versions"
    if before != "base":
        made.migrate(before)
    folder.mkdir()
    (folder / "0003.py").write_text(LATER.format("0003", "0002", ""))
    (folder / "0004.py").write_text(LATER.format("0004", "0003", "raise RuntimeError('half way')"))
    config = revisions._alembic()
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", f"{ROOT / 'migrations' / 'versions'}\n{folder}")
    monkeypatch.setattr(revisions, "_alembic", lambda: config)
    tables = inspect(create_engine(url(made))).get_table_names()
    with pytest.raises(RuntimeError, match="half way"):
        made.migrate("0004")
    assert inspect(create_engine(url(made))).get_table_names() == tables
    assert made._current() == (None if before == "base" else before)
    made.close()


def test_the_migrations_make_the_tables_that_the_models_describe(catalog):
    made = inspect(create_engine(url(catalog)))
    for table in models.metadata.tables.values():
        columns = {column["name"]: column["nullable"] for column in made.get_columns(table.name)}
        assert columns == {column.name: bool(column.nullable) for column in table.columns}
        indexes = {index["name"] for index in made.get_indexes(table.name) if not index.get("duplicates_constraint")}
        assert indexes - {"ix_items_place"} == {index.name for index in table.indexes}
        assert {key["referred_table"] for key in made.get_foreign_keys(table.name)} == {
            key.column.table.name for key in table.foreign_keys
        }
        assert made.get_pk_constraint(table.name)["constrained_columns"] == [key.name for key in table.primary_key]


def test_the_newest_revision_is_the_one_that_alembic_finds():
    script = ScriptDirectory.from_config(revisions._alembic())
    assert revisions.newest() == script.get_current_head()


def test_another_version_of_the_tables_is_told_with_what_to_do(tmp_path):
    made = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    made.ready()
    with create_engine(url(made)).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for ask in (made.check, made.ready):
        with pytest.raises(NotMigrated, match=r"catalog\.db.*9999.*kartotek migrate"):
            ask()
    made.close()


def test_a_database_that_does_not_answer_is_told_in_a_line(tmp_path):
    for place in (tmp_path / "no such folder" / "catalog.db", tmp_path):
        made = Catalog(f"sqlite:///{place}")
        with pytest.raises(CatalogError) as told:
            made.ready()
        assert str(place) in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("how", ["a table is gone", "the database is gone"])
def test_a_database_that_fails_in_use_is_told_in_a_line(catalog, make_item, make_collection, break_database, how):
    catalog.publish(make_item(), collection=make_collection())
    catalog.close()
    if how == "a table is gone":
        with create_engine(url(catalog)).begin() as connection:
            connection.execute(text("ALTER TABLE items RENAME TO elsewhere"))
    else:
        break_database(catalog)
    for ask in (
        lambda: catalog.search(PUBLIC, Search(area=WORLD)),
        lambda: catalog.publish(make_item(), collection=make_collection()),
        lambda: catalog.delete_item("generated", "item"),
    ):
        with pytest.raises(CatalogError, match=re.escape(catalog.place) + r": \S") as told:
            ask()
        assert "\n" not in str(told.value)


def test_more_readers_than_connections_is_told_in_a_line(tmp_path):
    made = Catalog(f"sqlite:///{tmp_path / 'catalog.db'}")
    made.migrate()
    made._connections.engine.pool._timeout = 0.1
    with ExitStack() as stack:
        for _ in range(dialects.POOL["pool_size"] + dialects.POOL["max_overflow"]):
            stack.enter_context(made._connections.engine.connect())
        with pytest.raises(CatalogError, match="QueuePool"):
            made.counts(PUBLIC)
    made.close()


def test_no_message_has_a_password_in_it():
    for bad in (
        "mysql://me:secret@host/x",
        "me:secret@host",
        "postgresql//me:sec@ret@host",
        "postgresql://me:pa@sec@host/x",
        "postgresql://me:pa@sec/ret@host/x",
        "postgresql://me:pa@sec?ret@host/x",
        "postgresql://me:pa@s:ecret@host/x",
    ):
        with pytest.raises(BadSettings) as told:
            Catalog(bad)
        assert "sec" not in str(told.value)
    with pytest.raises(CatalogError, match=r"127\.0\.0\.1:9") as told:
        Catalog("postgresql://me:secret@127.0.0.1:9/x").check()
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("bad", ["kartotek.db", "mysql://x/y", "", "sqlite://", "sqlite:///:memory:"])
def test_a_database_that_is_not_known_is_a_bad_setting(bad):
    with pytest.raises(BadSettings, match="KARTOTEK_DATABASE"):
        Catalog(bad)


def test_a_file_that_is_no_database_is_told_in_a_line(tmp_path):
    path = tmp_path / "catalog.db"
    path.write_bytes(b"no database at all " * 100)
    with pytest.raises(CatalogError) as told:
        Catalog(f"sqlite:///{path}").ready()
    assert "catalog.db" in str(told.value) and "\n" not in str(told.value)
