"""What all tests share: the sample products, published once, and servers on them; an empty catalog; small items."""

import contextlib
import functools
import http.client
import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import orjson
import pytest
import shapely
from filelock import FileLock
from shapely.geometry import mapping

import converters  # noqa: F401  its import sets GDAL up, which must come before rasterio's
from catalog.store import Catalog
from kartotek.settings import Settings
from kartotek.storage import FolderStorage, Storage, open_storage

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"
"""Schemas and genuine metadata, beside the project where there are any."""

MAIN = "from kartotek.cli import main; main()"
"""What `kartotek` runs, whether it is installed or not."""


FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    *("--window-size=1280,800", "--force-device-scale-factor=1"),
)
LISTEN = """
window.reports = [];
document.addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI, sourceFile}) =>
    window.reports.push(`${violatedDirective}: ${blockedURI} (${sourceFile})`));
"""
"""What every page runs before it runs anything of its own: it notes what the content security policy refused."""


@dataclass(frozen=True)
class Published:
    """The sample products as items."""

    folder: Path
    """Where the products lie, below `products`."""
    settings: Settings
    storage: Storage
    catalog: Catalog
    local: FolderStorage
    """The same files in a folder, for those who look at them without us."""
    said: str = ""
    """What `kartotek demo` printed while it made them."""

    @property
    def kind(self) -> str:
        """The kind of database, for `make_database`."""
        return "sqlite" if self.settings.database.startswith("sqlite") else "postgis"


ON_SQLITE = {
    ROOT / "tests" / name
    for name in (
        "api/test_addresses.py", "api/test_clients.py", "api/test_conformance.py", "api/test_hostile_pixels.py",
        "api/test_hostile_requests.py",
        "api/test_private.py", "api/test_products.py", "api/test_requests.py", "api/test_viewer.py",
        "jobs/test_bulk.py", "jobs/test_deletion.py", "jobs/test_lines.py", "jobs/test_plan.py",
        "jobs/test_register.py", "jobs/test_convert.py", "jobs/test_sources.py", "jobs/test_upkeep.py",
        "jobs/test_zones.py", "kartotek/test_cli.py", "kartotek/test_cli_bulk.py", "kartotek/test_cli_upkeep.py",
    )
}  # fmt: skip
"""Files whose tests are run on SQLite and in a folder each time, and on PostGIS and in a bucket among the full counts:
what these do differently, as who sees what, is tested in tests/catalog, tests/kartotek/storage and by what is searched
and served in tests/api, on both. So is what happens at once, here."""


def pytest_collection_modifyitems(items):
    """Mark what is among the full counts, and put the rest into an order.

    The longest files, and one that makes the samples; meanwhile those that need none; then the others.
    """
    for item in items:
        if item.path in ON_SQLITE and "postgis" in item.name and "at_once" not in item.name:
            item.add_marker(pytest.mark.full)
    files = dict.fromkeys(item.path for item in items)
    with_samples = {item.path for item in items if {"demo", "published"} & set(item.fixturenames)}
    sampled = [path for path in files if path in with_samples]
    long = [path for path in files if path.name in ("test_docs.py", "test_crashes.py")]
    order = [*sampled[:1], *long, *(path for path in files if path not in sampled), *sampled]
    items.sort(key=lambda item: order.index(item.path))


@pytest.fixture(scope="session", autouse=True)
def no_settings_from_outside():
    """The environment of whoever runs the tests decides nothing."""
    for name in [name for name in os.environ if name.startswith("KARTOTEK_") and "TEST" not in name]:
        del os.environ[name]
    # Commands that are started by the dozen need not be compiled each time.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The endpoint of an S3 server, which the AWS_* variables name from now on."""
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    endpoint = f"http://127.0.0.1:{port}"
    names = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**names, "AWS_REGION": "us-east-1", "NO_PROXY": "127.0.0.1"}.items():
            patch.setenv(name, value)
        _wait_for(process, port)
        yield endpoint
    process.terminate()
    process.wait(10)


def _new_bucket(endpoint: str) -> str:
    name = f"bucket-{uuid.uuid4().hex[:12]}"
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT"), timeout=30):
        return f"s3://{name}"


@pytest.fixture
def bucket(s3_server) -> str:
    """An empty bucket's address, such as s3://bucket-0."""
    return _new_bucket(s3_server)


@contextlib.contextmanager
def _between(
    endpoint: str, fault: Callable[[str, int, Message], int | float | str | None]
) -> Iterator[tuple[str, Counter[str]]]:
    """A server between us and a bucket's: (its address, method → requests). See `faulty`."""
    seen: Counter[str] = Counter()
    where = urlsplit(endpoint)

    class Between(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self):
            seen[self.command] += 1
            wrong = fault(self.command, seen[self.command], self.headers)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if isinstance(wrong, int):
                self.send_response(wrong)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            if isinstance(wrong, float):
                time.sleep(wrong)
            behind = http.client.HTTPConnection(where.netloc)
            behind.request(self.command, self.path, body, dict(self.headers))
            answer = behind.getresponse()
            content = answer.read()
            if wrong in ("lost", "stalled"):  # it was done, and nobody hears of it
                stopped.wait(wrong == "stalled" and 30)
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if wrong == "cut" else content)
            self.close_connection = wrong == "cut"

        do_GET = do_PUT = do_HEAD = do_DELETE = do  # noqa: N815

        def log_message(self, *_):
            """Nothing."""

    stopped = threading.Event()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Between)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    stopped.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def faulty(monkeypatch, s3_server):
    """Makes a server between us and the buckets; `fault(method, n, headers)` says what goes wrong.

    With the nth request of a method: a status, "cut" (half of the answer), "lost" (done, and no answer), "stalled" (the
    same, but the connection stays), seconds as a float that it takes longer, or None. Gives method → requests.
    """

    @contextlib.contextmanager
    def make(fault):
        with _between(s3_server, fault) as (address, seen), monkeypatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", address)
            yield seen

    return make


@pytest.fixture(scope="session")
def products(demo):
    """The folder of the standard samples: twelve small products, ten folders and two zips."""
    return demo.folder / "products"


def _command(*words: object) -> str:
    """What a command of ours prints."""
    from click.testing import CliRunner

    from kartotek.cli import cli

    said = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
    assert said.exit_code == 0, said.output
    return said.output


Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Once:
    """Gives a folder by a name; the first of the tests' processes that asks for it fills it, and nobody changes it."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def folder(name: str, fill: Callable[[Path], object]) -> Path:
        made = shared / name
        with FileLock(f"{made}.lock"):
            if not (done := Path(f"{made}.done")).exists():
                shutil.rmtree(made, ignore_errors=True)
                made.mkdir()
                fill(made)
                done.touch()
        return made

    return folder


@pytest.fixture(scope="session")
def demo(once, tmp_path_factory) -> Iterator[Published]:
    """The standard samples, made, converted and published by `kartotek demo`, once for all tests."""
    if given := os.environ.get("KARTOTEK_TEST_DEMO"):
        folder, said = Path(given), _command("demo", "--no-serve", given)
    else:
        first = once("demo", lambda made: (made / "said").write_text(_command("demo", "--no-serve", made)))
        # Each process has a copy, since some tests write to it.
        folder = tmp_path_factory.mktemp("demo") / "copy"
        shutil.copytree(first, folder)
        said = (folder / "said").read_text()
    settings = Settings(
        database=f"sqlite:///{folder / 'kartotek.db'}", storage=str(folder / "store"), url="http://catalog.test"
    )
    catalog, storage = Catalog(settings.database), FolderStorage(folder / "store")
    yield Published(folder, settings, storage, catalog, storage, said)
    catalog.close()


@pytest.fixture(scope="session")
def demo_on_postgis(demo, make_database, s3_server) -> Iterator[Published]:
    """The same items and files, on PostGIS and in a bucket."""
    from catalog.access import OPERATOR
    from catalog.search import Search
    from kartotek.squares import Spread, Square

    settings = Settings(database=make_database("postgis"), storage=_new_bucket(s3_server), url="http://catalog.test")
    catalog, storage = Catalog(settings.database), open_storage(settings.storage)
    catalog.migrate()
    for key in demo.local.keys():  # noqa: SIM118
        storage.create(key, demo.local.root / key)
    for content in demo.catalog.search(OPERATOR, Search(limit=100)).items:
        item = orjson.loads(content)
        squares = [
            Square(
                **{name: row[name] for name in ("east", "north", "valid", "clear")},
                classes={int(code): count for code, count in row["classes"].items()},
                indices={name: Spread(**spread) for name, spread in row["indices"].items()},
            )
            for row in demo.catalog.squares(OPERATOR, item["collection"], item["id"])
        ]
        collection = demo.catalog.collection(OPERATOR, item["collection"])
        catalog.publish(content, collection=collection, counted=squares)
    yield Published(demo.folder, settings, storage, catalog, demo.local)
    catalog.close()


@pytest.fixture(scope="session")
def small_products(once) -> Path:
    """The standard samples of 2 km, for what has to convert many; a swath's edge is as it was."""
    from dataclasses import replace

    from converters import samples

    def fill(folder: Path) -> None:
        for scene in samples.scenes():
            samples.write(scene if scene.swath else replace(scene, pixels=192), folder)

    folder: Path = once("small", fill)
    return folder


# Not the parameters themselves: pytest keeps one of them at a time, and would convert all anew whenever it changes.
@pytest.fixture(
    scope="session", params={"sqlite, folder": "demo", "postgis, s3": "demo_on_postgis"}.items(), ids=lambda one: one[0]
)
def published(request) -> Published:
    """The standard samples as items: on one file and in a folder, and on PostGIS and in a bucket."""
    found: Published = request.getfixturevalue(request.param[1])
    return found


@pytest.fixture(scope="session")
def client(published):
    """HTTP without a network, on the published samples; an error that nobody foresaw fails the test."""
    from fastapi.testclient import TestClient

    from api.app import create_app

    return TestClient(create_app(published.settings, published.catalog, published.storage))


@dataclass(frozen=True)
class Serving:
    """`kartotek serve` in a process of its own."""

    process: "subprocess.Popen[str]"
    root: str
    """The root of its URLs."""
    log: Path
    """What it writes to standard error; in a file, since nobody empties a pipe while it runs."""

    @property
    def place(self) -> tuple[str, int]:
        """Its address and port."""
        host, _, port = self.root.removeprefix("http://").rpartition(":")
        return host, int(port)

    def stop(self, *, patience: float = 60) -> str:
        """What it has logged, once it has been told to stop and has ended with status 0."""
        self.process.terminate()
        assert self.process.wait(patience) == 0, self.log.read_text()
        return self.log.read_text()


@pytest.fixture(scope="session")
def serving(tmp_path_factory):
    """Starts `kartotek serve` on settings, with words before the command and variables in its environment."""

    @contextlib.contextmanager
    def start(settings: Settings, *words: str, **environment: str) -> Iterator[Serving]:
        place = ["--port", "0", "--database", settings.database, "--storage", settings.storage]
        log = tmp_path_factory.mktemp("serving") / "log"
        with log.open("w") as stderr, subprocess.Popen(
            [sys.executable, "-c", MAIN, *words, "serve", *place], env=os.environ | environment, text=True,
            stdout=subprocess.PIPE, stderr=stderr,
        ) as process:  # fmt: skip
            try:
                said = process.stdout.readline().split()
                assert said[:1] == ["page"], log.read_text()
                yield Serving(process, said[1].rstrip("/"), log)
            finally:
                process.kill()

    return start


@pytest.fixture(scope="session")
def server(published, serving) -> Iterator[str]:
    """The root URL of `kartotek serve` in a process of its own, on the published samples."""
    # Its links name the address that it listens on.
    with serving(published.settings) as started:
        yield started.root


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[object]:
    """Chromium without a window, by its driver."""
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("no chromium and chromedriver here: no page is looked at")
    options = ChromeOptions()
    for flag in [*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"]:
        options.add_argument(flag)
    options.binary_location = shutil.which("chromium")
    options.add_experimental_option("prefs", {"intl.accept_languages": "en-GB,en"})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = ChromeService(shutil.which("chromedriver"))
    driver = Chrome(options, service)
    driver.set_script_timeout(60)
    driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTEN})
    yield driver
    driver.quit()


@pytest.fixture(scope="session")
def postgis() -> Iterator[str]:
    """The URL of a PostgreSQL server, without a database, that has one called `template_kartotek` with the extensions.

    The server that KARTOTEK_TEST_POSTGIS names, or one of its own from the system's package.
    """
    import sqlalchemy

    with contextlib.ExitStack() as stack:
        url = os.environ.get("KARTOTEK_TEST_POSTGIS") or stack.enter_context(_cluster()).url
        _on_server(url, "DROP DATABASE IF EXISTS template_kartotek")
        _on_server(url, "CREATE DATABASE template_kartotek")
        template = sqlalchemy.create_engine(f"{url}/template_kartotek")
        with template.begin() as connection:
            for name in ("postgis", "btree_gist"):
                connection.execute(sqlalchemy.text(f"CREATE EXTENSION {name}"))
        template.dispose()
        yield url


@pytest.fixture
def own_cluster() -> Iterator["Cluster"]:
    """A PostgreSQL server of the test's own, which it may stop and start."""
    with _cluster() as made:
        yield made


class Cluster:
    """A PostgreSQL server in a folder; `url` names it, without a database."""

    def __init__(self, command: list[str | Path], folder: str, port: int) -> None:
        self._command, self._folder, self._port = command, folder, port
        self.url = f"postgresql+psycopg://kartotek@127.0.0.1:{port}"

    def database(self, name: str) -> str:
        """The URL of a new database, without extensions."""
        _on_server(self.url, f"CREATE DATABASE {name}")
        return f"{self.url}/{name}"

    def start(self) -> None:
        """Run, and return once it listens."""
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _wait_for(self._process, self._port)

    def stop(self) -> None:
        """Stop, without waiting for those who are connected."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(30)


@contextlib.contextmanager
def _cluster() -> Iterator[Cluster]:
    """A PostgreSQL cluster that is gone afterwards."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not programs:
        pytest.skip("no PostgreSQL here (Debian: apt install postgresql-postgis): nothing is tested on PostGIS")
    bin = programs[-1].parent
    # A server does not run as root; the package brings a user of its own.
    other = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="kartotek-postgis-", ignore_cleanup_errors=True) as folder:
        if other:
            shutil.chown(folder, "postgres", "postgres")
        subprocess.run(
            [*other, bin / "initdb", "-D", f"{folder}/data", "-U", "kartotek", "-A", "trust", "-E", "UTF8", "-N"],
            check=True, capture_output=True, cwd=folder,
        )  # fmt: skip
        settings = {"listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off",
                    "max_connections": 200, "shared_buffers": "128MB", "log_min_messages": "fatal"}  # fmt: skip
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        made = _started([*other, bin / "postgres", "-D", f"{folder}/data", *options], folder)
        try:
            yield made
        finally:
            made.stop()


def _started(command: list[str | Path], folder: str) -> Cluster:
    """A cluster that runs; on another port where somebody was quicker to take the first one."""
    from sqlalchemy.exc import OperationalError

    errors: list[Exception] = []
    while len(errors) < 5:
        port = _free_port()
        made = Cluster([*command, "-c", f"port={port}"], folder, port)
        try:
            made.start()
            _on_server(made.url, "SELECT 1")  # it may be another's server that listens
            return made
        except (RuntimeError, OperationalError) as error:
            errors.append(error)
            made.stop()
    raise ExceptionGroup("no PostgreSQL server could be started", errors)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    """Return once a server listens."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise RuntimeError(f"{process.args} does not listen")


@pytest.fixture(scope="session")
def make_database(request, tmp_path_factory) -> Callable[..., str]:
    """Gives the URL of a new database of a kind: empty, or `migrated`; adding a kind is adding it here."""

    def make(kind: str, *, migrated: bool = False) -> str:
        if kind == "sqlite":
            path = tmp_path_factory.mktemp("database") / "catalog.db"
            if migrated:
                shutil.copy(template(kind).removeprefix("sqlite:///"), path)
            return f"sqlite:///{path}"
        url, name = request.getfixturevalue("postgis"), f"test_{uuid.uuid4().hex[:16]}"
        copied = template(kind).rpartition("/")[2] if migrated else "template_kartotek"
        _on_server(url, f"CREATE DATABASE {name} TEMPLATE {copied}")
        return f"{url}/{name}"

    @functools.cache
    def template(kind: str) -> str:
        """One that has its tables, to be copied, which is quicker than making them; nobody stays connected to it."""
        url = make(kind)
        with contextlib.closing(Catalog(url)) as catalog:
            catalog.migrate()
        return url

    return make


def _on_server(url: str, statement: str) -> None:
    """Run a statement that concerns databases as wholes."""
    import sqlalchemy

    server = sqlalchemy.create_engine(sqlalchemy.make_url(url).set(database="postgres"), poolclass=sqlalchemy.NullPool)
    with server.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sqlalchemy.text(statement))


@pytest.fixture(params=["sqlite", "postgis"])
def new_database(request, make_database) -> Iterator[Callable[..., str]]:
    """Gives the URLs of new databases of each kind: empty, or `migrated`."""
    made: list[str] = []

    def make(*, migrated: bool = False) -> str:
        made.append(make_database(request.param, migrated=migrated))
        return made[-1]

    yield make
    for url in made:
        if request.param == "postgis":
            _on_server(url, f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")


@pytest.fixture
def break_database() -> Callable[[Catalog], None]:
    """Makes a catalog's database one that can't be used."""

    def do(catalog: Catalog) -> None:
        catalog.close()
        kind, name = catalog._connections.engine.dialect.name, catalog._connections.engine.url.database
        if kind == "sqlite":
            Path(name).write_bytes(b"no database any more " * 100)
        else:
            _on_server(catalog.place, f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")

    return do


@pytest.fixture
def catalog(new_database) -> Iterator[Catalog]:
    """An empty catalog, on each database."""
    made = Catalog(new_database(migrated=True))
    yield made
    made.close()


@pytest.fixture(scope="session")
def make_item() -> Callable[..., bytes]:
    """Makes the JSON of a small valid item, as conversion would store it."""

    def make(
        name="item", *, collection="generated", footprint=None, at=None, start=None, end=None, assets=None, **more
    ):
        footprint = footprint or shapely.box(17, 59, 18, 60)
        at = datetime(2024, 6, 1, 10, tzinfo=UTC) if at is None and start is None else at
        times = {"datetime": at, "start_datetime": start, "end_datetime": end}
        properties = {key: _text(time) for key, time in times.items() if time is not None or key == "datetime"}
        return orjson.dumps(
            {
                "type": "Feature",
                "stac_version": "1.1.0",
                "stac_extensions": [],
                "id": name,
                "geometry": mapping(footprint),
                "bbox": list(footprint.bounds),
                "properties": {**properties, **more},
                "collection": collection,
                "assets": assets or {},
                "links": [],
            }
        )

    return make


@pytest.fixture(scope="session")
def make_collection() -> Callable[[str], bytes]:
    """Makes the JSON of a small valid collection."""

    def make(name="generated", **more):
        return orjson.dumps(
            {
                "type": "Collection",
                "stac_version": "1.1.0",
                "stac_extensions": [],
                "id": name,
                "title": name.title(),
                "description": "Made for a test",
                "license": "CC0-1.0",
                "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
                **more,
                "links": [],
            }
        )

    return make


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of schemas beside the project; what needs it is skipped, aloud, where it is not there."""
    if not (SHARED / "schemas").is_dir():
        pytest.skip(f"no {SHARED}: STAC's JSON schemas are not at hand")
    return SHARED


def _text(time: datetime | None) -> str | None:
    return None if time is None else time.astimezone(UTC).isoformat().replace("+00:00", "Z")
