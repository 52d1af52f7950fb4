"""The floor of a tile: the ranges of its blocks read and unpacked, and a picture of its size encoded; no warp, no HTTP.

    python floor.py CLIENTS SECONDS ROOT < requests.json > figures.json

A request is {"blocks": [[key, offset, size], ...], "bands", "size", "suffix"}. Each is done once, and so is each block,
which may be of several; with SECONDS above 0 the list goes round until they are over, with all blocks unpacked already.
ROOT is a folder, or a store's address; then all blocks of a request are read at once. Figures are as the client's.
"""

import json
import os
import struct
import sys
import threading
import time
import zlib
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import imagecodecs
import numpy as np

THREADS = 2
"""That work at a time, on files; as many as there are clients where the store is far away."""


class Files:
    """Ranges of files."""

    def __init__(self, root):
        self.root, self.open = root, {}

    def read(self, blocks):
        return [self.range(*block) for block in blocks]

    def range(self, key, offset, size):
        if key not in self.open:
            self.open[key] = os.open(f"{self.root}/{key}", os.O_RDONLY)
        return os.pread(self.open[key], size, offset)


class Store:
    """Ranges of objects."""

    def __init__(self, root):
        import obstore
        import obstore.store

        self.get = obstore.get_range
        self.store = obstore.store.HTTPStore.from_url(root, client_options={"allow_http": True})
        self.pool = ThreadPoolExecutor(64)

    def read(self, blocks):
        return list(self.pool.map(self.range, blocks))

    def range(self, block):
        key, offset, size = block
        return bytes(self.get(self.store, key, start=offset, length=size))


def unpacked(packed, kind):
    """A block's pixels."""
    raw = imagecodecs.deflate_decode(packed, out=512 * 512 * np.dtype(kind).itemsize)
    return imagecodecs.delta_decode(np.frombuffer(raw, kind).reshape(512, 512, 1), axis=-2)[..., 0]


def encoded(bands, size, suffix):
    """A picture of the bands' pixels; nothing where what is asked for is none."""
    if suffix not in ("png", "webp", "jpg"):
        return b""
    part = [(band[:size, :size] >> 4).clip(0, 255).astype(np.uint8) for band in bands]
    part = part * (3 // len(part)) if len(part) in (1, 3) else part[:1] * 3
    match suffix:
        case "png":
            return png(np.dstack([*part, np.full_like(part[0], 255)]))
        case "webp":
            return imagecodecs.webp_encode(np.dstack(part), level=75, method=0)
        case _:
            return imagecodecs.jpeg8_encode(np.dstack(part), level=75)


def png(picture):
    """The fastest that libraries have: differences to the left, packed by libdeflate at its lightest."""
    rows, columns, channels = picture.shape
    lines, flat = np.empty((rows, 1 + columns * channels), np.uint8), picture.reshape(rows, -1)
    lines[:, 0], lines[:, 1 : 1 + channels] = 1, flat[:, :channels]
    np.subtract(flat[:, channels:], flat[:, :-channels], out=lines[:, 1 + channels :])
    parts = [(b"IHDR", struct.pack(">IIBBBBB", columns, rows, 8, 6, 0, 0, 0)),
             (b"IDAT", bytes(imagecodecs.deflate_encode(lines, level=1, raw=False))), (b"IEND", b"")]  # fmt: skip
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )


def main():
    """Work, then write."""
    clients, seconds, root = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    requests = json.load(sys.stdin)
    far = "://" in root
    source = Store(root) if far else Files(root)
    kept, numbers, answers = {}, count(), []
    if seconds:
        for one in requests:
            work(source, kept, one)

    def ask(began):
        while True:
            number = next(numbers)
            if number >= len(requests) and (not seconds or time.perf_counter() - began > seconds):
                return
            start = time.perf_counter()
            body = work(source, kept, requests[number % len(requests)])
            took = 1000 * (time.perf_counter() - start)
            answers.append({"ms": took, "bytes": len(body), "timing": ""})

    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=(began,)) for _ in range(clients if far else min(clients, THREADS))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({"seconds": time.perf_counter() - began, "answers": answers}, sys.stdout)


LOCK = threading.Lock()


def work(source, kept, one):
    """The body of an answer."""
    wanted = [tuple(block) for block in one["blocks"]]
    with LOCK:
        missing = [block for block in wanted if block not in kept]
        kept.update((block, Future()) for block in missing)
    for block, packed in zip(missing, source.read(missing), strict=True):
        kept[block].set_result(unpacked(packed, "<u2"))
    bands = {block[0]: kept[block].result() for block in wanted}
    return encoded(list(bands.values())[: one["bands"]], one["size"], one["suffix"])


main()
