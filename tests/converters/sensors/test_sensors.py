"""The sensors together; those of packages that are installed beside ours are in tests/examples."""

import logging

import pytest

from converters import sensors
from converters.sensors.sentinel2 import SENTINEL2
from kartotek.errors import HostileProduct
from kartotek.product import Sensor


class Failing:
    """A sensor that can't even look at names."""

    name = "failing"
    collections = ()

    def recognise(self, files):
        return files.names[1_000_000]

    def read(self, files, *, visual=False):
        raise NotImplementedError


@pytest.fixture
def failing_first(monkeypatch):
    monkeypatch.setattr(sensors, "sensors", lambda: (Failing(), SENTINEL2))


def test_ours_are_sensors_and_come_first():
    assert sensors.found()[0][0] is sensors.sensors()[0] is SENTINEL2
    assert isinstance(SENTINEL2, Sensor)


def test_a_sensor_that_fails_to_recognise_leaves_the_product_to_the_others(sample, failing_first, caplog):
    with caplog.at_level(logging.WARNING):
        assert sensors.read(sample("33")).collection.id == "sentinel-2-l2a"
    assert "the sensor failing fails on" in caplog.text and "IndexError" in caplog.text


def test_a_hostile_product_is_told_as_such_and_not_as_a_sensors_fault(tmp_path, failing_first):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "link").symlink_to("/etc/passwd")
    (tmp_path / "x" / "y").write_text("")
    with pytest.raises(HostileProduct, match="link"):
        sensors.read(tmp_path / "x")
