"""Filters: the standard's examples parse, and what they select is what a second implementation says."""

import json
import random
from pathlib import Path

import cql2
import orjson
import pytest
import shapely
from shapely.geometry import mapping, shape
from sqlalchemy import select

from catalog import dialects, facts
from catalog.filters import condition, grammar
from catalog.models import items
from catalog.queryables import TYPED, Queryable, joined
from kartotek.errors import BadRequest

STANDARD = Path(__file__).parents[3] / "shared" / "cql2"
"""The standard's examples and the records of its test suite, where they are at hand."""
standard = pytest.mark.skipif(not STANDARD.exists(), reason="../shared/cql2, the standard's example filters, is absent")


def ask(catalog, names, asked):
    """The ids of the items that a filter selects; the filter is CQL2 text, or CQL2 JSON."""
    tree = grammar.check(grammar.text(asked) if isinstance(asked, str) else grammar.json(asked))
    with catalog._connections.reading() as connection:
        wanted = select(items.c.id).where(condition(tree, names, dialects.of(connection)))
        return set(connection.scalars(wanted))


def names_of(documents):
    """What the items' properties may be asked for by."""
    kinds = {}
    for document in documents:
        for name, value in facts.facts(document["properties"]).items():
            kinds.setdefault(name, set()).add(facts.kind(value))
    return {**TYPED, **{name: Queryable(name=name, kind=joined(found)) for name, found in kinds.items()}}


def oracle(asked, document):
    """Whether an item is selected, by the second implementation; None where that has no answer."""
    parsed = cql2.parse_text(asked) if isinstance(asked, str) else cql2.parse_json(json.dumps(asked))
    try:
        return parsed.matches({**document["properties"], "id": document["id"], "geometry": document["geometry"]})
    except Exception as error:
        assert "reduce" in str(error), error
        return None


def differences(catalog, asked_for, known, names):
    """Filter → (ours, the other's), of those that are not answered alike; a refusal is its reason."""
    found = {}
    for asked in asked_for:
        told = [(document["id"], oracle(asked, document)) for document in known]
        theirs = "no answer" if None in {answer for _, answer in told} else {name for name, answer in told if answer}
        try:
            mine = ask(catalog, names, asked)
        except BadRequest as error:
            mine = str(error)
        if mine != theirs:
            found[str(asked)] = (mine, theirs)
    return found


@pytest.fixture
def records(catalog, make_item, make_collection):
    """The records of the standard's test suite as items."""
    known = []
    for number, line in enumerate((STANDARD / "testdata.ndjson").read_text().splitlines()):
        record = json.loads(line)
        footprint = shape(record.pop("geom"))
        west, south, east, north = footprint.bounds
        if not (-180 <= west <= east <= 180 and -90 <= south <= north <= 90):
            continue  # no place on earth, where items are
        content = make_item(f"{number:03}", footprint=footprint, **record)
        catalog.publish(content, collection=make_collection())
        known.append(orjson.loads(content))
    return known


@standard
def test_the_standard_s_examples_parse_alike_as_text_and_as_json():
    texts = {path.stem: path.read_text() for path in (STANDARD / "examples" / "text").iterdir()}
    objects = {path.stem: json.loads(path.read_text()) for path in (STANDARD / "examples" / "json").iterdir()}
    assert len(texts) == 120 and len(objects) == 109
    for content in texts.values():
        assert grammar.check(grammar.text(content)) is not None
    for content in objects.values():
        assert grammar.check(grammar.json(content)) is content


@standard
def test_the_standard_s_test_suite_is_answered_as_by_a_second_implementation(catalog, records):
    lines = (STANDARD / "ats-expressions.txt").read_text().splitlines()
    asked = [line.split("|", 1)[1] for line in lines if line and not line.startswith("#")]
    assert len(asked) == 109
    names = names_of(records) | {"geom": TYPED["geometry"]}
    renamed = [text.replace("geom,", "geometry,") for text in asked]
    found = differences(catalog, renamed, records, names)
    reasons = {text: mine for text, (mine, _) in found.items()}
    # Where we differ we refuse: no place on earth, texts compared with numbers, names in quotes, which are properties.
    assert all("positions must be longitude, latitude" in reason for text, reason in reasons.items() if "180)" in text)
    assert all("can't be compared" in reason for text, reason in reasons.items() if "etween" in text.lower())
    assert all("in an array" in reason for text, reason in reasons.items() if text.startswith("A_"))
    assert len(reasons) == 3 + 2 + 4


WORDS = ("Åre", "åre", "Arvika", "arvidsjaur", "50%", "a_b", "back\\slash", "[x]*?", "")


@pytest.fixture
def scenes(catalog, make_item, make_collection):
    """Items that have all that generated filters ask for."""
    chance, known = random.Random(7), []
    for number in range(120):
        west, south = chance.randrange(10, 20), chance.randrange(55, 65)
        content = make_item(
            f"{number:03}",
            footprint=shapely.box(west, south, west + chance.randint(1, 4), south + chance.randint(1, 4)),
            platform=chance.choice(["sentinel-2a", "sentinel-2b"]),
            created=f"2024-01-{chance.randint(1, 9):02}T{chance.choice([0, 12]):02}:00:00Z",
            orbit=chance.randrange(-5, 6),
            share=chance.choice([-1.5, 0.0, 0.25, 3.0]),
            word=chance.choice(WORDS),
            sharp=chance.choice([True, False]),
            bands=[chance.choice(["B02", "B03", "B04", "B08"]) for _ in range(chance.randint(1, 3))],
            **{"eo:cloud_cover": chance.choice([0, 10.5, 50, 99])},
        )
        catalog.publish(content, collection=make_collection())
        known.append(orjson.loads(content))
    return known


def generated(chance, depth=2):
    """A filter of what the scenes have, as CQL2 JSON."""
    if depth and chance.random() < 0.5:
        op = chance.choice(["and", "or", "not"])
        return {
            "op": op,
            "args": [generated(chance, depth - 1) for _ in range(1 if op == "not" else chance.randint(2, 3))],
        }
    return chance.choice([_of_numbers, _of_words, _of_times, _of_places, _of_arrays, _of_lists])(chance)


def _named(*names):
    return lambda chance: {"property": chance.choice(names)}


_COMPARED = ("=", "<>", "<", "<=", ">", ">=")
_NUMBER, _WORD = _named("orbit", "share", "eo:cloud_cover"), _named("word", "platform")


def _number(chance, depth=2):
    if depth and chance.random() < 0.3:
        op = chance.choice(["+", "-", "*"])
        return {"op": op, "args": [_number(chance, depth - 1), _number(chance, depth - 1)]}
    return _NUMBER(chance) if chance.random() < 0.5 else chance.choice([-1, 0, 0.25, 3, 50])


def _of_numbers(chance):
    if chance.random() < 0.2:
        return {"op": "between", "args": [_NUMBER(chance), *(chance.choice([-3, 0, 0.5, 60]) for _ in range(2))]}
    return {"op": chance.choice(_COMPARED), "args": [_number(chance), _number(chance)]}


def _of_words(chance):
    def folded(node):
        return {"op": wrap, "args": [node]} if wrap else node

    wrap = chance.choice(["casei", "accenti", None])
    if chance.random() < 0.5:
        pattern = chance.choice(["a%", "%", "_re", "%s%", "50%", "%e", "S%E", "[%", "sentinel-2_"])
        return {"op": "like", "args": [folded(_WORD(chance)), folded(pattern)]}
    return {"op": chance.choice(_COMPARED[:2]), "args": [folded(_WORD(chance)), folded(chance.choice(WORDS))]}


def _time(chance):
    if chance.random() < 0.4:
        return _named("created", "datetime")(chance)
    days = sorted(f"2024-{month}-{day:02}T00:00:00Z" for month in ("01", "06") for day in chance.sample(range(1, 9), 1))
    return {"timestamp": days[0]} if chance.random() < 0.4 else {"interval": chance.choice([days, [days[0], ".."]])}


def _of_times(chance):
    ops = ("after", "before", "contains", "disjoint", "during", "equals", "finishedBy", "finishes", "intersects")
    others = ("meets", "metBy", "overlappedBy", "overlaps", "startedBy", "starts")
    return {"op": f"t_{chance.choice([*ops, *others])}", "args": [_time(chance), _time(chance)]}


def _of_places(chance):
    west, south = chance.randrange(9, 20), chance.randrange(54, 65)
    box = shapely.box(west, south, west + chance.randint(1, 6), south + chance.randint(1, 6))
    shapes = [box, shapely.Point(west + 0.5, south + 0.5), shapely.LineString([(west, south), (west + 3, south + 3)])]
    op = chance.choice(["intersects", "disjoint", "equals", "touches", "within", "overlaps", "crosses", "contains"])
    args = [{"property": "geometry"}, mapping(chance.choice(shapes))]
    return {"op": f"s_{op}", "args": args}


def _of_arrays(chance):
    op = chance.choice(["a_contains", "a_containedBy", "a_equals", "a_overlaps"])
    return {
        "op": op,
        "args": [{"property": "bands"}, chance.sample(["B02", "B03", "B04", "B99"], chance.randint(1, 3))],
    }


def _of_lists(chance):
    if chance.random() < 0.5:
        return {"op": "in", "args": [_WORD(chance), chance.sample(WORDS, 3)]}
    return {"op": "in", "args": [_NUMBER(chance), [-2, 0, 0.25, 10.5]]}


@pytest.mark.parametrize("count", [150, pytest.param(1_000, marks=pytest.mark.full)])
def test_generated_filters_are_answered_as_by_a_second_implementation(catalog, scenes, count):
    chance, names, sizes = random.Random(8), names_of(scenes), []
    for number in range(count):
        asked = json.loads(json.dumps(generated(chance)))
        told = {document["id"]: oracle(asked, document) for document in scenes}
        if None in told.values():
            continue
        wanted = {name for name, answer in told.items() if answer}
        assert ask(catalog, names, asked) == wanted, (number, asked)
        sizes.append(len(wanted))
    assert len(sizes) > count * 3 // 4 and sum(0 < size < len(scenes) for size in sizes) > count * 3 // 8
