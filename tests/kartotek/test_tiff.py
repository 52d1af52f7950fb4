import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kartotek import tiff
from kartotek.tiff import ASCII, DOUBLE, LONG, SHORT, Ended

VALUES = {
    ASCII: st.binary(max_size=20),
    SHORT: st.lists(st.integers(0, 2**16 - 1), max_size=20).map(tuple),
    LONG: st.lists(st.integers(0, 2**32 - 1), max_size=20).map(tuple),
    DOUBLE: st.lists(st.floats(allow_nan=False), max_size=20).map(tuple),
}
TAGS = st.lists(
    st.sampled_from([*VALUES]).flatmap(lambda kind: st.tuples(st.integers(0, 2**16 - 1), st.just(kind), VALUES[kind])),
    max_size=12,
    unique_by=lambda tag: tag[0],
)


@given(TAGS, st.integers(0, 1000), st.booleans())
def test_what_is_written_is_as_long_as_foretold_and_read_again(tags, position, last):
    written = tiff.directory(tags, position, last=last)
    assert len(written) == tiff.length(tags)
    read, following = tiff.read(bytes(position) + written, position)
    assert read == sorted(tags) and following == (0 if last else position + len(written))
    longs, _ = tiff.read(bytes(position) + written, position, [LONG])
    assert longs == [tag for tag in sorted(tags) if tag[1] == LONG]


@given(TAGS, st.data())
def test_a_directory_that_is_cut_tells_how_much_of_it_is_needed(tags, data):
    written = tiff.directory(tags, 0, last=True)
    held = data.draw(st.integers(0, len(written)))
    for _ in range(3 + 2 * len(tags)):
        try:
            found, _ = tiff.read(written[:held], 0)
        except Ended as error:
            assert held < error.needed <= len(written)
            held = error.needed
        else:
            assert found == sorted(tags)
            return
    pytest.fail("each time more of it was needed")


def test_tags_that_share_their_values_are_refused_before_they_take_memory():
    """32 kB stood for 200 MB."""
    values = struct.pack("<20000H", *range(20_000))
    entries = b"".join(struct.pack("<HHII", code, SHORT, 20_000, 10_000) for code in range(700))
    content = (struct.pack("<H", 700) + entries).ljust(10_000, b"\0") + values
    tracemalloc.start()
    with pytest.raises(ValueError, match="share their values"):
        tiff.read(content, 0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 4 << 20
