import io
import json
import logging
import subprocess
import sys
import tomllib
from contextvars import copy_context
from pathlib import Path

import pytest

from kartotek import logs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["text", "json"])
def form(request):
    return request.param


def written(form, level, message, *values, **more):
    """What a log line looks like."""
    place = io.StringIO()
    handler = logging.StreamHandler(place)
    handler.addFilter(logs.stamp)
    handler.setFormatter(logs.FORMATS[form]())
    log = logging.Logger("kartotek.test")
    log.addHandler(handler)
    log.log(level, message, *values, **more)
    return place.getvalue()


def test_a_line_says_when_how_bad_who_and_what(form):
    said = written(form, logging.WARNING, "%s is %d", "Siljan", 7)
    if form == "json":
        told = json.loads(said)
        assert list(told) == ["time", "level", "logger", "request_id", "message"]
        assert (told["level"], told["logger"], told["request_id"]) == ("WARNING", "kartotek.test", None)
        assert told["message"] == "Siljan is 7" and told["time"].endswith("+00:00")
    else:
        when, _, rest = said.partition(" ")
        assert when.endswith("+00:00") and rest == "WARNING kartotek.test: Siljan is 7\n"


def test_a_line_written_for_a_request_carries_its_id(form):
    def answer():
        logs.request.set("abc-1")
        return written(form, logging.INFO, "found")

    said = copy_context().run(answer)
    assert json.loads(said)["request_id"] == "abc-1" if form == "json" else " [abc-1]: found" in said
    assert "abc-1" not in written(form, logging.INFO, "found")


@pytest.mark.parametrize("name", ["a\nERROR forged", "a\r\nb", "\x1b[2Jgone", "\u2028", "\x00", "caf\udce9"])
def test_nobody_writes_a_line_of_their_own_by_a_name(form, name):
    said = written(form, logging.INFO, "no item %s", name)
    assert len(said.splitlines()) == 1 and said.strip().isprintable() and "no item" in said


def test_an_error_brings_its_traceback(form):
    try:
        raise ValueError("no such lake")
    except ValueError:
        said = written(form, logging.ERROR, "failed", exc_info=True)
    told = json.loads(said)["traceback"] if form == "json" else said
    assert "Traceback" in told and "ValueError: no such lake" in told
    assert form == "text" or said.count("\n") == 1


@pytest.mark.parametrize(
    ("level", "heard"),
    [("debug", {"us debug", "us info", "us error", "them debug", "them info", "them error"}),
     ("info", {"us info", "us error", "them error"}), ("error", {"us error", "them error"})],
)  # fmt: skip
def test_of_libraries_only_warnings_are_heard_unless_all_is_wanted(level, heard):
    code = (
        f"import logging, warnings; from kartotek import logs; logs.set_up({level!r}, 'json')\n"
        "for name, who in (('api.app', 'us'), ('botocore.credentials', 'them')):\n"
        "    for level in ('debug', 'info', 'error'):\n"
        "        getattr(logging.getLogger(name), level)(f'{who} {level}')\n"
        "warnings.warn('a warning of Python')"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    told = {json.loads(line)["message"] for line in said.splitlines()}
    assert {one for one in told if "Python" not in one} == heard
    assert any("a warning of Python" in one for one in told) == (level != "error")


def test_no_package_of_ours_is_forgotten():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    assert sorted(contract["root_packages"]) == list(logs.OURS)


def test_where_logging_is_set_up_already_nothing_happens():
    before = list(logging.getLogger().handlers)
    assert before  # pytest's
    logs.set_up("error", "text")
    assert logging.getLogger().handlers == before
