"""Norrsken-1 keeps what kartotek asks of every sensor."""

import sample
from norrsken import NORRSKEN

from kartotek.testing import SensorContract


class TestNorrsken(SensorContract):
    sensor = NORRSKEN

    @classmethod
    def make(cls, folder):
        return sample.write(folder)
