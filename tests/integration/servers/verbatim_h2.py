"""The same for HTTP/2 without TLS: it says what it got to the letter, with trailers; it needs h2 beside Python.

/healthz /readyz 200    /echo JSON of all that came, then the trailer x-sum    extended CONNECT: echoes bytes (RFC 8441)
/test.Echo/Call         gRPC: sends back each message, then the trailer grpc-status
"""

import argparse
import asyncio
import json
import signal

from h2 import config, connection, events, settings


class Http2(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.h2 = connection.H2Connection(config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings[settings.SettingCodes.ENABLE_CONNECT_PROTOCOL] = 1
        self.h2.initiate_connection()
        self.streams: dict[int, dict] = {}
        self.flush()

    def flush(self) -> None:
        self.transport.write(self.h2.data_to_send())

    def data_received(self, data: bytes) -> None:
        for event in self.h2.receive_data(data):
            self.handle(event)
        self.flush()

    def handle(self, event: events.Event) -> None:
        if isinstance(event, events.RequestReceived):
            named = dict(event.headers)
            tunnel = ":protocol" in named
            echoes = tunnel or named.get("content-type", "").startswith("application/grpc")
            self.streams[event.stream_id] = {
                "headers": event.headers, "body": bytearray(), "trailers": [], "tunnel": tunnel, "echoes": echoes,
            }  # fmt: skip
            if echoes:
                kind = [] if tunnel else [("content-type", "application/grpc")]
                self.h2.send_headers(event.stream_id, [(":status", "200"), *kind])
        elif isinstance(event, events.DataReceived):
            stream = self.streams[event.stream_id]
            stream["body"] += event.data
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            if stream["echoes"]:
                self.h2.send_data(event.stream_id, event.data)
        elif isinstance(event, events.TrailersReceived):
            self.streams[event.stream_id]["trailers"] = event.headers
        elif isinstance(event, events.StreamEnded):
            self.end(event.stream_id, self.streams.pop(event.stream_id))

    def end(self, stream_id: int, stream: dict) -> None:
        if stream["tunnel"]:
            self.h2.end_stream(stream_id)
        elif stream["echoes"]:
            self.h2.send_headers(stream_id, [("grpc-status", "0"), ("grpc-message", "done")], end_stream=True)
        else:
            got = {"headers": stream["headers"], "trailers": stream["trailers"], "length": len(stream["body"])}
            self.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/json")])
            self.h2.send_data(stream_id, json.dumps(got).encode())
            self.h2.send_headers(stream_id, [("x-sum", str(sum(stream["body"])))], end_stream=True)


async def serve(host: str, port: int) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await asyncio.get_running_loop().create_server(Http2, host, port)
    await stop.wait()


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--host", default="0.0.0.0")
    arguments.add_argument("--port", type=int, default=8000)
    given = arguments.parse_args()
    asyncio.run(serve(given.host, given.port))
