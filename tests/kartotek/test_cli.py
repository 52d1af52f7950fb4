import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import click
import orjson
import pytest
from click.testing import CliRunner

from catalog.store import Catalog
from kartotek import cli as command_line
from kartotek.cli import COMMANDS, cli

RUN = [sys.executable, "-c", "from kartotek.cli import main; main()"]
UPPSALA = "17.8,59.9,18.1,60.1"


def run(*words, **more):
    """A command in this process; errors of ours are raised."""
    return CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False, **more)


@pytest.fixture
def told(monkeypatch, capsys):
    """Runs a command as the shell does: (exit status, standard output, standard error)."""

    def main(*words):
        monkeypatch.setattr(sys, "argv", ["kartotek", *(str(word) for word in words)])
        with pytest.raises(SystemExit) as end:
            command_line.main()
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return main


@pytest.fixture
def place(published):
    """Options that name the published samples."""
    return ["--database", published.settings.database]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_every_command_has_examples_that_can_be_typed(name):
    said = run(name, "--help")
    assert said.exit_code == 0
    _, _, examples = said.output.partition("Examples:")
    lines = [line.strip() for line in examples.splitlines() if line.strip()]
    assert lines
    context = click.Context(cli)
    command = cli.get_command(context, name)
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    for line in lines:
        typed = re.split(r"\s{2,}|\|", line.removeprefix("KARTOTEK_URL=https://kartotek.example.se "))[0]
        words = shlex.split(typed)
        assert words[:2] == ["kartotek", name], line
        assert {word for word in words if word.startswith("--")} <= known | {"--help"}, line


def test_help_and_version_are_told_without_loading_what_converts_and_serves():
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom kartotek.cli import cli\n"
        "for words in (['--help'], ['--version']):\n    print(CliRunner().invoke(cli, words).output)\n"
        "print('LOADED', *sorted({'rasterio', 'sqlalchemy', 'fastapi', 'numpy'} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert all(name in said for name in COMMANDS) and "kartotek, version" in said
    assert said.splitlines()[-1] == "LOADED"


def test_every_option_says_what_it_is():
    for name in COMMANDS:
        command = cli.get_command(click.Context(cli), name)
        # What stands in the list of commands is how the command's own help begins.
        assert command.help.split()[:3] == COMMANDS[name][1].split()[:3]
        for parameter in command.params:
            assert isinstance(parameter, click.Argument) or parameter.help, (name, parameter.name)


def test_demo_makes_converts_and_tells_and_does_nothing_the_second_time(demo):
    if demo.said:
        kinds = [line.split()[0] for line in demo.said.splitlines()]
        assert kinds == ["made"] * 12 + ["converted"] * 12
    database = demo.folder / "kartotek.db"
    before = (database.stat().st_mtime_ns, len(list(demo.storage.keys())))
    again = run("demo", "--no-serve", demo.folder)
    assert (again.exit_code, again.output) == (0, "")
    assert before == (database.stat().st_mtime_ns, len(list(demo.storage.keys())))


def serving(*words):
    return subprocess.Popen([*RUN, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_demo_serves_until_it_is_stopped_and_says_where(demo, number):
    with serving("demo", "--port", "0", "--no-browser", demo.folder) as process:
        lines = [process.stdout.readline() for _ in range(5)]
        page = lines[0].split()[1]
        with urllib.request.urlopen(f"{page}search?limit=1", timeout=10) as answer:
            [item] = orjson.loads(answer.read())["features"]
        assert item["links"][1]["href"].startswith(page)
        assert all(page in line for line in lines[:4]) and "Ctrl+C" in lines[4]
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert out == "" and re.fullmatch(r"\S+ INFO kartotek\.access \[\w+\]: GET /search 200, .*\n", err)
    assert process.returncode in (0, -number)


def test_convert_that_is_terminated_leaves_no_temporary_files(products, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    process = subprocess.Popen(
        [*RUN, "convert", *map(str, sorted(products.glob("*.SAFE")))],
        env={**os.environ, "TMPDIR": str(scratch), "KARTOTEK_STORAGE": str(tmp_path / "store"),
                       "KARTOTEK_DATABASE": f"sqlite:///{tmp_path / 'kartotek.db'}"},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not any(scratch.rglob("*.tif")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + signal.SIGTERM, "")
    assert list(scratch.iterdir()) == []


def test_a_port_that_is_taken_is_told_in_a_line(server, place):
    port = server.rpartition(":")[2]
    done = subprocess.run([*RUN, "serve", "--port", port, *place], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: can't listen on 127\.0\.0\.1:\d+ \(.*\); give another --port.*\n", done.stderr)


def test_search_prints_what_it_finds_newest_first(place):
    lines = run("search", *place).output.splitlines()
    assert len(lines) == 12
    times = [line.split()[1] for line in lines]
    assert times == sorted(times, reverse=True)
    assert re.fullmatch(r"S2C_MSIL2A_20250422\S+  2025-04-22T\S+Z  +\d+\.\d % cloud", lines[0])


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--bbox", UPPSALA], 5),
        (["--bbox", UPPSALA, "--datetime", "2022-07-15"], 3),
        (["--bbox", UPPSALA, "--datetime", "2022-07-15T00:00:00Z/.."], 4),
        (["--datetime", "../2021-12-31"], 1),
        (["--datetime", "2023-01-01/2023-12-31"], 6),
        (["--collections", "sentinel-2-l1c"], 1),
        (["--collections", "sentinel-2-l1c,sentinel-2-l2a", "--limit", "4"], 4),
        (["--ids", "no-such,S2B_MSIL2A_20230823T095559_N0509_R122_T34WET_20230823T140400"], 1),
        (["--bbox", "0,0,1,1"], 0),
        (["--bbox", "170,-10,-170,10"], 0),
    ],
    ids=str,
)
def test_search_narrows_by_place_time_collection_and_id(place, options, count):
    assert len(run("search", *place, *options).output.splitlines()) == count
    lines = run("search", "--json", *place, *options).output.splitlines()
    assert [orjson.loads(line)["type"] for line in lines] == ["Feature"] * count


def test_info_tells_what_the_catalog_holds(published, place):
    store = ["--storage", published.settings.storage]
    said = run("info", *place, *store).output
    assert published.settings.database in said and published.settings.storage in said
    assert re.search(r"\b11 items in sentinel-2-l2a", said) and re.search(r"\b1 items? in sentinel-2-l1c", said)
    told = orjson.loads(run("info", "--json", *place, *store).output)
    assert told["items"] == {"sentinel-2-l1c": 1, "sentinel-2-l2a": 11}


def test_info_tells_all_about_an_item(place):
    name = run("search", "--limit", "1", *place).output.split()[0]
    said = run("info", f"sentinel-2-l2a/{name}", *place).output
    assert said.startswith(name) and "eo:cloud_cover" in said and re.search(r"B02 +\d+\.\d\d MB", said)
    assert orjson.loads(run("info", "--json", f"sentinel-2-l2a/{name}", *place).output)["id"] == name


def test_migrate_goes_up_and_down(tmp_path):
    place = ["--database", f"sqlite:///{tmp_path / 'new.db'}"]
    for words, revision in (([], "head"), (["--to", "base"], "base"), (["--to", "0001"], "0001"), ([], "head")):
        said = run("migrate", *words, *place)
        assert said.exit_code == 0 and said.output.endswith(f"tables at {revision}\n")
    made = Catalog(place[1])
    made.check()
    made.close()


@pytest.mark.parametrize("words", [["search"], ["info"], ["info", "a/b"]], ids=" ".join)
def test_a_mistyped_database_is_told_and_not_made(told, tmp_path, words):
    status, out, err = told(*words, "--database", f"sqlite:///{tmp_path / 'mistyped.db'}")
    assert (status, out) == (1, "") and list(tmp_path.iterdir()) == []
    assert re.fullmatch(r"Error: \S+mistyped\.db: no such database; .*kartotek convert.*kartotek migrate.*\n", err)


def test_search_prints_as_many_as_asked_for_page_by_page(tmp_path, make_item, make_collection):
    place = f"sqlite:///{tmp_path / 'many.db'}"
    made = Catalog(place)
    made.ready()
    made.publish(make_item(), collection=make_collection())
    made.close()
    with sqlite3.connect(tmp_path / "many.db") as connection:
        columns = 'collection, footprint, "datetime", start, "end", content'
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 12000) "
            f"INSERT INTO items(id, {columns}) SELECT 'item-' || i, {columns} FROM items, n"
        )
    for limit, count in ((1, 1), (1000, 1000), (1001, 1001), (11_500, 11_500), (20_000, 12_001)):
        assert run("search", "--database", place, "--limit", limit).output.count("\n") == count


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["info", "sentinel-2-l2a/no-such"], "no item 'no-such' in collection 'sentinel-2-l2a'"),
        (["search", "--bbox", "1,2,3"], "bbox: 3 numbers; give west,south,east,north"),
        (["search", "--bbox", "a,b,c,d"], "bbox"),
        (["search", "--bbox", "1,2,nan,4"], "bbox"),
        (["search", "--bbox", "1,5,3,4"], "bbox"),
        (["search", "--datetime", "2024-06-02/2024-06-01"], "ends before it starts"),
        (["search", "--datetime", "2024-06-01T00:00:00"], "datetime"),
        (["search", "--ids", "a\0b"], "ids"),
        (["search", "--datetime", "yesterday"], "datetime: 'yesterday'"),
        (["search", "--datetime", "2024-02-30"], "datetime"),
        (["migrate", "--to", "no-such"], "no-such"),
        (["search", "--database", "sqlite:////no/such/folder/catalog.db"], "/no/such/folder"),
        (["search", "--database", "mysql://host/name"], "KARTOTEK_DATABASE"),
        (["migrate", "--database", "sqlite:////no/such/folder/catalog.db"], "/no/such/folder"),
        (["convert", "--storage", "gs://bucket", "x.SAFE"], "KARTOTEK_STORAGE"),
    ],
    ids=" ".join,
)
def test_an_error_is_one_line_and_exit_status_1(told, place, words, text):
    database = [] if "--database" in words else place
    status, out, err = told(*words, *database)
    assert (status, out) == (1, "")
    assert err.startswith("Error: ") and err.count("\n") == 1 and text in err


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "harbour"), ("FILES_ENDPOINT", "s3.example.se"), ("FILES_ENDPOINT", "https://s3.example.se?x")],
)
def test_a_wrong_setting_is_told_by_its_name(told, monkeypatch, name, value):
    monkeypatch.setenv(f"KARTOTEK_{name}", value)
    status, _, err = told("serve")
    assert status == 1 and err.count("\n") == 1 and err.startswith(f"Error: KARTOTEK_{name}: ") and f"'{value}'" in err


@pytest.mark.parametrize(
    "words",
    [["no-such"], ["convert"], ["convert", "--crs", "nonsense", "x"], ["search", "--limit", "0"], ["info", "item"],
     ["search", "--no-such"], ["serve", "--port", "99999"]],
    ids=" ".join,
)  # fmt: skip
def test_a_command_that_can_not_be_is_told_with_usage_and_exit_status_2(told, place, words):
    status, out, err = told(*words, *(place if words[0] in {"info", "search"} else []))
    assert (status, out) == (2, "")
    assert "Usage:" in err and "Error:" in err and "Traceback" not in err


def test_settings_come_from_the_environment(published, monkeypatch):
    monkeypatch.setenv("KARTOTEK_DATABASE", published.settings.database)
    monkeypatch.setenv("KARTOTEK_STORAGE", published.settings.storage)
    told = orjson.loads(run("info", "--json").output)
    assert (told["database"], told["storage"]) == (published.settings.database, published.settings.storage)


@pytest.fixture(scope="module")
def mixed(products, tmp_path_factory):
    """Products on a command line: one whole, two broken, one that is none."""
    folder = tmp_path_factory.mktemp("mixed")
    good = next(products.glob("*_T34WET_*.zip"))
    sample = next(products.glob("*_T33VUC_*.SAFE"))
    empty = folder / sample.name
    shutil.copytree(sample, empty)
    next(empty.rglob("*_B04_10m.jp2")).write_bytes(b"")
    cut = folder / good.name.replace("T34WET", "T34WEU")
    cut.write_bytes(good.read_bytes()[:100_000])
    return [empty, good, cut, folder / "no such.zip"]


def test_convert_names_each_broken_product_in_a_line_and_goes_on(mixed, tmp_path, told):
    place = ["--database", f"sqlite:///{tmp_path / 'new.db'}", "--storage", tmp_path / "store"]
    status, out, err = told("convert", *mixed, *place)
    assert status == 1
    good = mixed[1].name.removesuffix(".zip")
    assert out == f"sentinel-2-l2a/{good}\n"
    lines = err.splitlines()
    assert len(lines) == 4 and all(line.startswith("Error: ") for line in lines[:3])
    for line, path, what in zip(
        lines, [mixed[0], *mixed[2:]], ["B04", "not a whole zip", "no such file"], strict=False
    ):
        assert path.name in line and what in line
    assert lines[3] == "3 of 4 products could not be converted"
    assert run("search", "--database", place[1]).output.split()[0] == good
    # The same in JSON; what was published is published again.
    status, out, err = told("convert", "--json", *mixed, *place)
    assert (status, err) == (1, "")
    outcomes = [orjson.loads(line) for line in out.splitlines()]
    assert [Path(outcome["product"]) for outcome in outcomes] == mixed
    assert [outcome["status"] for outcome in outcomes] == ["failed", "published", "failed", "failed"]
    assert [outcome.get("error") for outcome in outcomes] == ["BrokenProduct", None, "BrokenProduct", "UnknownProduct"]
    assert outcomes[1]["item"] == good and outcomes[1]["replaced"] is True and outcomes[1]["notes"] == []
    assert all(outcome["reason"] in "".join(lines) for outcome in outcomes if outcome["status"] == "failed")


def test_convert_takes_another_crs_and_what_is_there_of_a_broken_product(mixed, tmp_path):
    place = ["--database", f"sqlite:///{tmp_path / 'new.db'}", "--storage", tmp_path / "store"]
    said = run("convert", "--crs", "native", "--allow-partial", mixed[0], *place)
    assert said.exit_code == 0
    assert re.search(r"Warning: \S+SAFE: left out: \S+B04_10m\.jp2 has 0 bytes", said.output)
    item = orjson.loads(run("search", "--json", *place[:2]).output)
    assert item["properties"]["proj:code"] == "EPSG:32633"
    assert "B04" not in item["assets"] and "squares" not in item["assets"]


@pytest.mark.full
def test_sample_makes_the_standard_products_and_prints_their_paths(tmp_path, published):
    said = run("sample", tmp_path / "made")
    made = sorted(Path(line) for line in said.output.splitlines())
    assert [path.name for path in made] == sorted(path.name for path in (published.folder / "products").iterdir())
    assert all(path.exists() for path in made)


def test_what_is_printed_into_a_pipe_that_closes_is_no_error(place):
    """As with `kartotek search --json | head -1`."""
    line = f"{shlex.join([*RUN, 'search', '--json', *place])} | head -c 10"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30, env=os.environ)
    assert (len(done.stdout), done.stderr) == (10, "")


def test_serve_ends_in_a_moment(published, place):
    with serving("serve", "--port", "0", *place, "--storage", published.settings.storage) as process:
        process.stdout.readline()
        started = time.monotonic()
        process.terminate()
        process.communicate(timeout=10)
    assert time.monotonic() - started < 5
