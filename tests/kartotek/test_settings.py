import pytest

from kartotek import settings
from kartotek.errors import BadSettings


def test_what_is_kept_of_a_collection_is_read_as_json(monkeypatch):
    assert settings.load().bands == {} and settings.load().profile == "standard"
    monkeypatch.setenv("KARTOTEK_BANDS", '{"sentinel-2-l2a": ["B04", "B08"]}')
    monkeypatch.setenv("KARTOTEK_PROFILE", "compact")
    assert settings.load().bands == {"sentinel-2-l2a": ["B04", "B08"]} and settings.load().profile == "compact"
    assert settings.load(profile="standard").profile == "standard", "what is given comes before the environment"


@pytest.mark.parametrize(
    "text", ["B04,B08", "[]", '{"sentinel-2-l2a": "B04"}', '{"sentinel-2-l2a": []}', '{"sentinel-2-l2a": [4]}', "{"]
)
def test_bands_that_are_no_lists_of_names_are_named_in_a_line(monkeypatch, text):
    monkeypatch.setenv("KARTOTEK_BANDS", text)
    with pytest.raises(BadSettings, match=r"^KARTOTEK_BANDS: [^\n]+$"):
        settings.load()


def test_an_unknown_profile_is_told_with_those_that_there_are(monkeypatch):
    monkeypatch.setenv("KARTOTEK_PROFILE", "tiny")
    with pytest.raises(BadSettings, match=r"KARTOTEK_PROFILE: .*'standard' or 'compact'"):
        settings.load()
