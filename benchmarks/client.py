"""The load client, a process of its own: reads a load from standard input, prints the outcome.

While a round runs it does as little as it can: it notes what arrived and when. Everything is decoded between the
rounds, and every answer is compared with what the generator says, word for word.
"""

import asyncio
import gc
import re
import sys
import time
from bisect import bisect_left
from itertools import accumulate

import msgspec
import uvloop

from benchmarks.cpu import database_cpu, process_cpu, processes_cpu
from benchmarks.loads import Load, Outcome, Times

END = b"0\r\n\r\n"
ANSWER = re.compile(rb'"answer":"([^"]*)"')
BODY = b'{"inputs":{},"query":"What is a ledger?","response_mode":"streaming","conversation_id":"","user":"user-%d"}'
STAMP = re.compile(rb"m(\d+) ")


class Stream(asyncio.Protocol):
    """One connection, one response at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.done: asyncio.Future[None] | None = None
        self.asked_at = 0.0
        self.parts: list[bytes] = []
        self.times: list[float] = []
        self._ending = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self.transport = transport

    def ask(self, request: bytes) -> "asyncio.Future[None]":
        """Send a request; the future is set when its response has arrived."""
        self.parts, self.times, self._ending = [], [], b""
        self.done = asyncio.get_running_loop().create_future()
        self.asked_at = time.perf_counter()
        self.transport.write(request)
        return self.done

    def data_received(self, data: bytes) -> None:
        """Note it."""
        self.times.append(time.perf_counter())
        self.parts.append(data)
        if len(data) < len(END):
            self._ending = data = self._ending + data
        else:
            self._ending = data[-len(END) :]
        if data.endswith(END):
            self.done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        """It must not happen."""
        if self.done is not None and not self.done.done():
            seen = b"".join(self.parts)[:300]
            self.done.set_exception(ConnectionError(f"the server hung up: {error}, after {seen!r}"))


class Tally:
    """Decodes what the streams noted."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._expected = b"".join(b"t%d " % number for number in range(load.tokens))
        self._first_token: list[float] = []
        self._delays: list[float] = []
        self.outcome = Outcome(
            streams=0,
            tokens=0,
            frames=0,
            received_bytes=0,
            server_cpu=0.0,
            database_cpu=0.0,
            client_cpu=0.0,
            wall=0.0,
        )

    def finish(self) -> Outcome:
        """All of it."""
        self.outcome.first_token, self.outcome.delays = _times(self._first_token), _times(self._delays)
        return self.outcome

    def add(self, stream: Stream) -> None:
        """Count one response.

        Raises:
            ValueError: it is not the answer that was to come.
        """
        response = b"".join(stream.parts)
        if not response.startswith(b"HTTP/1.1 200"):
            raise ValueError(f"unexpected response: {response[:300]!r}")
        frames = list(ANSWER.finditer(response))
        answer = b"".join([frame[1] for frame in frames])
        ends = list(accumulate(map(len, stream.parts)))
        outcome = self.outcome
        if self._load.stamped:
            outcome.tokens += self._count_stamped(stream, frames, ends)
        else:
            if answer != self._expected:
                raise ValueError(f"unexpected answer: {answer[:100]!r}...")
            outcome.tokens += self._load.tokens
        outcome.streams += 1
        outcome.frames += len(frames)
        outcome.received_bytes += len(response)
        arrived = stream.times[bisect_left(ends, frames[0].end())]
        self._first_token.append(arrived - stream.asked_at)

    def _count_stamped(self, stream: Stream, frames: list[re.Match[bytes]], ends: list[int]) -> int:
        count, counted_from = 0, None
        for frame in frames:
            arrived = stream.times[bisect_left(ends, frame.end())]
            for stamp in STAMP.findall(frame[1]):
                due = int(stamp) / 1e6
                counted_from = due + self._load.skip_first if counted_from is None else counted_from
                count += 1
                if due >= counted_from:
                    self._delays.append(arrived - due)
        if count != self._load.tokens:
            raise ValueError(f"{count} tokens instead of {self._load.tokens}")
        return count


def _requests(load: Load) -> list[bytes]:
    requests = []
    for number in range(load.streams):
        body = BODY % (number % load.users)
        head = (
            f"POST {load.path} HTTP/1.1\r\nHost: 127.0.0.1:{load.port(number)}\r\n"
            f"Authorization: Bearer {load.api_key}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


async def _round(load: Load, streams: list[Stream], requests: list[bytes]) -> None:
    pause = load.ramp / len(streams)
    waiting, began = [], time.perf_counter()
    for number, (stream, request) in enumerate(zip(streams, requests, strict=True)):
        if pause and (wait := began + number * pause - time.perf_counter()) > 0:
            await asyncio.sleep(wait)
        waiting.append(stream.ask(request))
    await asyncio.gather(*waiting)


async def run(load: Load) -> Outcome:
    """All rounds."""
    loop = asyncio.get_running_loop()
    streams = [
        (await loop.create_connection(Stream, "127.0.0.1", load.port(number)))[1] for number in range(load.streams)
    ]
    requests, tally = _requests(load), Tally(load)
    for number in range(-load.warm_up, load.rounds):
        gc.collect()
        gc.disable()
        server_cpu, of_database = process_cpu(load.server_pid), database_cpu(load.postmaster)
        of_parts = {part: processes_cpu(pids) for part, pids in load.parts.items()}
        client_cpu, began = time.process_time(), time.perf_counter()
        async with asyncio.timeout(load.timeout):
            await _round(load, streams, requests)
        wall = time.perf_counter() - began
        client_cpu = time.process_time() - client_cpu
        await asyncio.sleep(0.02)  # what the server still does for these streams is part of their price
        server_cpu = process_cpu(load.server_pid) - server_cpu
        of_database = database_cpu(load.postmaster) - of_database
        of_parts = {part: processes_cpu(pids) - of_parts[part] for part, pids in load.parts.items()}
        gc.enable()
        if number >= 0:
            tally.outcome.wall += wall
            tally.outcome.client_cpu += client_cpu
            tally.outcome.server_cpu += server_cpu
            tally.outcome.database_cpu += of_database
            for part, used in of_parts.items():
                tally.outcome.parts_cpu[part] = tally.outcome.parts_cpu.get(part, 0.0) + used
            for stream in streams:
                tally.add(stream)
        await asyncio.sleep(load.pause)
    for stream in streams:
        stream.done = None
        stream.transport.close()
    return tally.finish()


def _times(seconds: list[float]) -> Times:
    if not seconds:
        return Times()
    ordered, count = sorted(seconds), len(seconds)
    p50, p90, p99, most = (1000 * ordered[min(count - 1, int(count * share))] for share in (0.5, 0.9, 0.99, 1.0))
    return Times(count=count, p50=p50, p90=p90, p99=p99, most=most)


def main() -> None:
    """One load."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(run(load))
    sys.stdout.buffer.write(msgspec.json.encode(outcome))


if __name__ == "__main__":
    main()
