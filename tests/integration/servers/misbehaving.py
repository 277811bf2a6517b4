"""A small real HTTP server that behaves by path and by option: what a deployment sees of somebody else's service.

/healthz /readyz    200, or what --ready says        /slow?s=N     answers after N seconds
/error              500                              /stream?s=N   events for N seconds, then data: [DONE]
/metrics            time to first token of its streams, named as vLLM does; 404 with --no-metrics
"""

import argparse
import asyncio
import os
import signal
import time
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


def burn(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def serve(options: argparse.Namespace) -> None:
    begun = time.monotonic()
    turn = 0
    first_s: list[float] = []
    kept: list[int] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal turn
        answered = 0
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                if options.closes and answered:
                    return
                answered += 1
                kept.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(options.leaks))
                request = urlsplit(head.split(b" ", 2)[1].decode())
                length = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length:
                    await reader.readexactly(length[0])
                seconds = float(parse_qs(request.query).get("s", ["0"])[0])
                if request.path == "/metrics":
                    await metrics(writer)
                    continue
                if request.path == "/stream":
                    await stream(writer, seconds)
                    continue
                await asyncio.sleep(seconds if request.path == "/slow" else options.delay_s)
                status = 200
                if request.path == "/readyz" and time.monotonic() - begun < options.ready_after_s:
                    status = 503
                elif request.path == "/error":
                    status = 500
                elif request.path not in ("/healthz", "/readyz"):
                    turn += 1
                    if options.answers and turn > options.answers:
                        await stop.wait()
                    status = 500 if options.fail_every and turn % options.fail_every == 0 else 200
                body = options.name.encode()
                writer.write(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n%s" % (status, len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def metrics(writer: asyncio.StreamWriter) -> None:
        counts = [sum(s <= bound for s in first_s) for bound in (0.01, 0.05, 0.1, 0.5, float("inf"))]
        body = "# TYPE vllm:time_to_first_token_seconds histogram\n" + "".join(
            f'vllm:time_to_first_token_seconds_bucket{{le="{bound}"}} {n}\n'
            for bound, n in zip(("0.01", "0.05", "0.1", "0.5", "+Inf"), counts, strict=True)
        )
        status = 404 if options.no_metrics else 200
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()

    async def stream(writer: asyncio.StreamWriter, seconds: float) -> None:
        writer.write(b"HTTP/1.1 200 X\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        await asyncio.sleep(options.first_token_s)
        first_s.append(options.first_token_s)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            writer.write(b"9\r\ndata: 1\n\n\r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        await writer.drain()

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await asyncio.sleep(options.start_after_s)
    if options.dies_after_s:
        loop.call_later(options.dies_after_s, lambda: os._exit(3))
    await asyncio.start_server(answer, options.host, options.port, backlog=1024)
    await stop.wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", default="127.0.0.1")
    arguments.add_argument("--port", type=int, required=True)
    arguments.add_argument("--name", default="x")
    arguments.add_argument("--start-after-s", type=float, default=0)
    arguments.add_argument("--ready-after-s", type=float, default=0)
    arguments.add_argument("--delay-s", type=float, default=0)
    arguments.add_argument("--fail-every", type=int, default=0)
    arguments.add_argument("--answers", type=int, default=0)
    arguments.add_argument("--closes", type=int, default=0, help="a connection at its second request, without a word")
    arguments.add_argument("--first-token-s", type=float, default=0)
    arguments.add_argument("--no-metrics", type=int, default=0)
    arguments.add_argument("--burn-s", type=float, default=0)
    arguments.add_argument("--dies-if", default="", help="a file: while it exists, the server leaves at its start")
    arguments.add_argument("--leaks", type=int, default=0, help="so many descriptors for each request")
    arguments.add_argument("--dies-after-s", type=float, default=0, help="counted from when it listens")
    given = arguments.parse_args()
    if given.dies_if and Path(given.dies_if).exists():
        raise SystemExit("a file that it needs is broken")
    if given.burn_s:  # a start that takes every processor
        import multiprocessing  # not in every Python that is made small

        burners = [multiprocessing.Process(target=burn, args=[given.burn_s]) for _ in range(2 * os.cpu_count())]
        for burner in burners:
            burner.start()
        for burner in burners:
            burner.join()
    asyncio.run(serve(given))
