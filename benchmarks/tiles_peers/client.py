"""Asks one server over so many connections that stay open, and tells what came back.

    python client.py PORT CLIENTS SECONDS BODIES < requests.json > figures.json

A request is [method, path, body]. Each is asked once, in turn by whichever connection is free; with SECONDS above 0 the
list goes round until they are over. BODIES is a file for the bodies of the first round, or "-". Figures: seconds in
all; of each answer its milliseconds, its bytes, its media type and its Server-Timing; and of those of another status
than 200 their number, their status and how they begin.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

import uvloop


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self, load):
        self.load = load

    def connection_made(self, transport):
        self.transport = transport
        self.next()

    def next(self):
        self.buffer, self.needed = bytearray(), None
        self.number = self.load.take()
        if self.number is None:
            self.transport.close()
            return
        self.began = time.perf_counter()
        self.transport.write(self.load.requests[self.number % len(self.load.requests)])

    def data_received(self, data):
        self.buffer += data
        if self.needed is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = bytes(self.buffer[:end])
            [size] = [line[15:] for line in self.head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            self.start, self.needed = end + 4, end + 4 + int(size)
        if len(self.buffer) >= self.needed:
            took = time.perf_counter() - self.began
            self.load.answered(self.number, took, self.head, self.buffer[self.start :])
            self.next()

    def connection_lost(self, _error):
        if self.number is not None:
            self.load.lost()


class Load:
    """The list, and what was answered."""

    def __init__(self, requests, clients, seconds):
        self.requests, self.clients, self.seconds = requests, clients, seconds
        self.asked, self.answers, self.bodies, self.wrong = 0, [], {}, []
        self.over = asyncio.get_running_loop().create_future()

    def take(self):
        once = self.asked >= len(self.requests)
        if once and (not self.seconds or time.perf_counter() - self.began > self.seconds):
            self.clients -= 1
            if not self.clients:
                self.over.set_result(time.perf_counter() - self.began)
            return None
        self.asked += 1
        return self.asked - 1

    def answered(self, number, took, head, body):
        self.answers.append((took, head, len(body)))
        status = int(head.split(maxsplit=2)[1])
        if status != 200:
            self.wrong.append((number, status, body[:200].decode(errors="replace")))
        if number < len(self.requests):
            self.bodies[number] = bytes(body)

    def lost(self):
        if not self.over.done():
            self.over.set_exception(RuntimeError("the server hung up"))

    async def run(self, port):
        self.began = time.perf_counter()
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            *(loop.create_connection(lambda: Connection(self), "127.0.0.1", port) for _ in range(self.clients))
        )
        return await self.over


def packed(port, method, path, body):
    """A request as it goes over the wire."""
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept: */*\r\n"
    content = b"" if body is None else json.dumps(body).encode()
    if content:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return head.encode() + b"\r\n" + content


def header(head, name):
    """A header's text; empty where there is none."""
    found = [line.partition(":")[2].strip() for line in head.decode().split("\r\n")[1:]
             if line.lower().startswith(name + ":")]  # fmt: skip
    return ", ".join(found)


async def main():
    """Ask, then write."""
    port, clients, seconds, place = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
    load = Load([packed(port, *each) for each in json.load(sys.stdin)], clients, seconds)
    taken = await load.run(port)
    if place != "-":
        with Path(place).open("wb") as file:
            for number in range(len(load.requests)):
                body = load.bodies[number]
                file.write(len(body).to_bytes(4, "little") + body)
    answers = [
        {"ms": 1000 * took, "bytes": size, "type": header(head, "content-type"),
         "timing": header(head, "server-timing")}
        for took, head, size in load.answers
    ]  # fmt: skip
    json.dump({"seconds": taken, "answers": answers, "wrong": load.wrong}, sys.stdout)


uvloop.run(main())
