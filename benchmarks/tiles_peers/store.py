"""Static files over HTTP, far away: each answer begins so many milliseconds late, however many are under way.

    python store.py PORT FOLDER MILLISECONDS

It takes as little of this machine's processors as can be: a real store has its own. What GET of S3 and of any web
server share: Range, ETag, Last-Modified, HEAD; signatures are not looked at. The first folder of a path is the bucket.
GET /:counts gives requests and bytes since the last time, by path.
"""

import asyncio
import json
import mmap
import sys
from email.utils import formatdate
from pathlib import Path

import uvloop

ROOT, DELAY = Path(sys.argv[2]).resolve(), float(sys.argv[3]) / 1000
FILES: dict[str, tuple[memoryview, int, float]] = {}
COUNTS: dict[str, list[int]] = {}


def opened(name):
    """A file's bytes, which are not read before they are sent, their number and its time; None where there is none."""
    if name not in FILES:
        path = (ROOT / name.lstrip("/")).resolve()
        if not path.is_relative_to(ROOT) or not path.is_file():
            return None
        told = path.stat()
        with path.open("rb") as file:
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if told.st_size else b""
        FILES[name] = memoryview(content), told.st_size, told.st_mtime
    return FILES[name]


class Connection(asyncio.Protocol):
    """Answers in the order of the requests."""

    def connection_made(self, transport):
        self.transport, self.buffer, self.loop = transport, b"", asyncio.get_running_loop()

    def data_received(self, data):
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            lines = self.buffer[:end].decode("latin-1").split("\r\n")
            self.buffer = self.buffer[end + 4 :]
            method, path, _ = lines[0].split(" ", 2)
            headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines[1:])}
            if path == "/:counts":
                self.send("200 OK", json.dumps(COUNTS).encode(), {"Content-Type": "application/json"})
                COUNTS.clear()
            else:
                self.loop.call_later(DELAY, self.answer, method, path.partition("?")[0], headers.get("range"))

    def answer(self, method, path, wanted):
        if self.transport.is_closing():
            return
        found = opened(path)
        if found is None:
            self.send("404 Not Found", b"")
            return
        file, size, modified = found
        start, stop, status = 0, size, "200 OK"
        more = {"Accept-Ranges": "bytes", "ETag": f'"{size:x}-{int(modified):x}"', "Content-Type": "image/tiff",
                "Last-Modified": formatdate(modified, usegmt=True)}  # fmt: skip
        if wanted:
            first, _, last = wanted.removeprefix("bytes=").partition("-")
            start, stop = (int(first), min(size, int(last or size) + 1)) if first else (max(0, size - int(last)), size)
            status, more["Content-Range"] = "206 Partial Content", f"bytes {start}-{stop - 1}/{size}"
            if start >= size:
                self.send("416 Range Not Satisfiable", b"", {"Content-Range": f"bytes */{size}"})
                return
        count = COUNTS.setdefault(path, [0, 0])
        count[0] += 1
        count[1] += 0 if method == "HEAD" else stop - start
        if method == "HEAD":
            self.send(status, b"", more, stop - start)
        else:
            self.send(status, file[start:stop], more)

    def send(self, status, body, more=None, length=None):
        lines = {"Content-Length": len(body) if length is None else length, **(more or {})}
        head = f"HTTP/1.1 {status}\r\n" + "".join(f"{name}: {text}\r\n" for name, text in lines.items())
        self.transport.writelines([head.encode() + b"\r\n", body])


async def main():
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", int(sys.argv[1]), backlog=512)
    await server.serve_forever()


uvloop.run(main())
