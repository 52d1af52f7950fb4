from datetime import UTC, datetime, timedelta

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from catalog import questions
from catalog.questions import instant, interval
from kartotek.errors import BadRequest

TIMES = st.from_regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", fullmatch=True)


@given(st.text(max_size=60) | TIMES)
def test_a_time_is_a_point_in_time_or_a_bad_request(text):
    try:
        assert instant(text).utcoffset() == timedelta(0)
    except BadRequest as error:
        assert "datetime" in str(error)


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00"])
def test_a_time_beyond_the_calendar_is_a_bad_request(text):
    with pytest.raises(BadRequest, match="datetime"):
        instant(text)


@pytest.mark.parametrize(
    "text",
    ["2024-06-01T00:00:00", "2024-06-01T00:00:00.5", "2024-06-01", "20240601T000000Z", "2024-W22-6T00:00:00Z",
     "2024-06-01T00:00Z", "2024-06-01T00:00:00,5Z", "2024-06-01T00:00:00+0100", "2024-06-01 00:00:00Z",
     "2024-06-01T24:00:00Z", "\u0662024-06-01T00:00:00Z", "2024-06-01T00:00:00Z\n"],
)  # fmt: skip
def test_a_time_without_a_zone_or_in_another_form_than_rfc_3339_is_a_bad_request(text):
    for ask in (instant, interval, lambda given: interval(f"../{given}"), lambda given: interval(f"{given}/..")):
        with pytest.raises(BadRequest, match="datetime"):
            ask(text)


def test_a_time_may_be_in_any_zone_and_in_small_letters():
    assert instant("2024-06-01t02:00:00.25+02:00") == instant("2024-06-01T00:00:00.25z")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        (None, None, None),
        ("", None, None),
        ("2024-06-01T10:00:00Z", "2024-06-01T10:00:00Z", "2024-06-01T10:00:00Z"),
        ("2024-06-01T10:00:00Z/..", "2024-06-01T10:00:00Z", None),
        ("/2024-06-01T10:00:00Z", None, "2024-06-01T10:00:00Z"),
        ("2024-06-01", "2024-06-01T00:00:00Z", "2024-06-01T23:59:59.999999Z"),
        ("2024-06-01/2024-06-02T10:00:00Z", "2024-06-01T00:00:00Z", "2024-06-02T10:00:00Z"),
        ("../2024-06-02", None, "2024-06-02T23:59:59.999999Z"),
    ],
)
def test_an_interval_is_an_instant_a_day_or_two_of_them(text, start, end):
    wanted = tuple(None if one is None else datetime.fromisoformat(one).astimezone(UTC) for one in (start, end))
    assert interval(text, days=True) == wanted


@pytest.mark.parametrize(
    "text",
    ["..", "/", "../..", "../", "2024-06-02/2024-06-01", "2024-06-01/2024-06-02/..", "2024-02-30", "2024-06-01/x"],
)
def test_what_is_no_interval_is_a_bad_request(text):
    with pytest.raises(BadRequest, match="datetime"):
        interval(text, days=True)


@pytest.mark.parametrize("numbers", [[17, 59, 18, 60], [17, 59, 0, 18, 60, 100]])
def test_a_box_is_four_numbers_or_six_as_text_or_not(numbers):
    for written in (numbers, tuple(numbers), ",".join(map(str, numbers)), ", ".join(map(str, numbers))):
        assert questions.box(written) == shapely.box(17, 59, 18, 60)


def test_a_box_whose_west_is_east_of_its_east_crosses_180_degrees():
    found = questions.box("170,-10,-170,10")
    assert found.area == 400 and shapely.intersects_xy(found, [175, -175, 0], 0).tolist() == [True, True, False]


@pytest.mark.parametrize(
    "text", ["1,2,3", "a,b,c,d", "", "1,2,3,nan", "nan,nan,nan,nan", "1,2,inf,4", "1,5,3,4", "-181,1,2,3", "1,2,3,91"]
)
def test_what_is_no_box_is_a_bad_request(text):
    with pytest.raises(BadRequest, match="bbox"):
        questions.box(text)


def test_a_geometry_in_a_thousand_others_is_a_bad_request():
    nested = {"type": "Point", "coordinates": [1, 2]}
    for _ in range(5000):
        nested = {"type": "GeometryCollection", "geometries": [nested]}
    with pytest.raises(BadRequest, match="intersects"):
        questions.area(nested)


@pytest.mark.parametrize("bad", ["\0", "it\0em", "\ud800"])
def test_a_name_that_can_not_be_written_is_a_bad_request(bad):
    with pytest.raises(BadRequest, match="ids"):
        questions.names("ids", ["item", bad])
