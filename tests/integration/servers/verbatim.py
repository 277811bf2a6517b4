"""A server of HTTP/1.1 that says what it got to the letter, for the table of what the edge passes. Python is enough.

/healthz /readyz   200                             /empty?status=N   a status without a body: 204, 304
/echo              JSON of all that came           /twice            two Set-Cookie headers
/upgrade           101, then echoes bytes          /trailers         a chunked body, then a trailer
/stream?n=N        N events, 0.05 s apart          /gzip             a compressed body
/silent?s=N        an event, N s of nothing, one   /headers?kb=N     N kilobytes of headers
/bye               a body that ends with the connection, which says so
/early             413 before the body is read     /continue         100, then as /echo
"""

import argparse
import asyncio
import gzip
import json
import signal
from urllib.parse import parse_qs, urlsplit

Headers = list[tuple[str, str]]


async def read_body(reader: asyncio.StreamReader, headers: Headers) -> tuple[bytes, Headers]:
    """Return the body and the trailers of a request."""
    named = {name.lower(): value for name, value in headers}
    if "chunked" not in named.get("transfer-encoding", ""):
        return await reader.readexactly(int(named.get("content-length", 0))), []
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    return body, await read_headers(reader)


async def read_headers(reader: asyncio.StreamReader) -> Headers:
    headers = []
    while line := (await reader.readline()).decode("latin-1").rstrip("\r\n"):
        name, _, value = line.partition(":")
        headers.append((name, value.strip()))
    return headers


def answer(status: int, body: bytes, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Status", f"content-length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def serve(self) -> None:
        try:
            while line := await self.reader.readline():
                method, target, version = line.decode("latin-1").split()
                headers = await read_headers(self.reader)
                if not await self._answer(method, target, version, headers):
                    return
                await self.writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            pass
        finally:
            self.writer.close()

    async def _answer(self, method: str, target: str, version: str, headers: Headers) -> bool:
        """Answer one request; return whether the connection goes on."""
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        named = {name.lower(): value for name, value in headers}
        write = self.writer.write
        if url.path == "/upgrade" and "upgrade" in named:
            write(f"HTTP/1.1 101 Switching\r\nconnection: Upgrade\r\nupgrade: {named['upgrade']}\r\n\r\n".encode())
            while data := await self.reader.read(65_536):
                write(data)
                if data.endswith(b"bye"):
                    break
            return False
        if url.path == "/early":
            write(answer(413, b"too much", "connection: close"))
            return False
        if named.get("expect", "") == "100-continue":
            write(b"HTTP/1.1 100 Continue\r\n\r\n")
        body, trailers = await read_body(self.reader, headers)
        got = {"method": method, "target": target, "version": version, "headers": headers, "trailers": trailers}
        said = json.dumps(got | {"length": len(body), "sum": sum(body)}).encode()
        if method == "HEAD":
            write(answer(200, b"", "x-head: yes").replace(b"content-length: 0", b"content-length: 1234"))
        elif url.path == "/empty":
            write(f"HTTP/1.1 {int(query['status'])} Empty\r\netag: x\r\n\r\n".encode())
        elif url.path == "/twice":
            write(answer(200, b"", "set-cookie: a=1", "set-cookie: b=2"))
        elif url.path == "/gzip":
            write(answer(200, gzip.compress(b"x" * 10_000), "content-encoding: gzip", "vary: accept-encoding"))
        elif url.path == "/headers":
            write(answer(200, b"", *(f"x-{n}: {'y' * 1000}" for n in range(int(query["kb"])))))
        elif url.path == "/trailers":
            write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n")
            write(b"4\r\nbody\r\n0\r\nx-sum: 42\r\n\r\n")
        elif url.path == "/bye":
            write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end")
            return False
        elif url.path in ("/stream", "/silent"):
            await self._stream([0.05] * int(query.get("n", 0)) or [float(query["s"])])
        else:
            write(answer(200, said, "content-type: application/json"))
        return named.get("connection", "").lower() != "close" and version != "HTTP/1.0"

    async def _stream(self, pauses_s: list[float]) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        for pause_s in pauses_s:
            self.writer.write(b"9\r\ndata: 1\n\n\r\n")
            await self.writer.drain()
            await asyncio.sleep(pause_s)
        self.writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")


async def serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    limit = 2**20
    await asyncio.start_server(lambda r, w: Connection(r, w).serve(), host, port, backlog=1024, limit=limit)
    await stop.wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", default="0.0.0.0")
    arguments.add_argument("--port", type=int, default=8000)
    arguments.add_argument("--name", default="x")
    given = arguments.parse_args()
    asyncio.run(serve(given.host, given.port))
