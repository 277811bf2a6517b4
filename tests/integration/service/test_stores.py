"""Services that share one Redis, named by TAILRACE_CACHE."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from tests.integration.service.conftest import Simulator, StartService
from tests.integration.service.test_health import eventually
from tests.integration.service.test_process import start

import disks
from tailrace.cli.commands import main

PASSWORD = "canary5150"


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real Redis that demands a password, on a free port."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on this machine")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)]
    with subprocess.Popen([*command, "--requirepass", PASSWORD], stdout=subprocess.DEVNULL) as process:
        try:
            yield f"redis://:{PASSWORD}@{_listening('127.0.0.1', port)}/0"
        finally:
            process.kill()


def _listening(host: str, port: int, timeout_s: float = 60.0) -> str:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, port), 1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return f"{host}:{port}"
    pytest.fail(f"redis-server does not listen on {host}:{port} after {timeout_s:g} s")


def test_services_share_their_responses(serve: StartService, provider: Simulator, redis_url: str) -> None:
    """A response cached by one service is a hit in another; with a cache in memory, the control, it is not."""
    content = f"shared {time.time_ns()}"
    one, two, alone = serve(TAILRACE_CACHE=redis_url), serve(TAILRACE_CACHE=redis_url), serve()
    assert eventually(one, 200)["cache"] == {"ok": True, "fact": "redis: returns what was put"}
    responses = [service.chat(content, temperature=0) for service in (one, two, alone)]
    assert [response.headers["x-tailrace-cache"] for response in responses] == ["miss", "hit", "miss"]
    assert responses[0].content == responses[1].content
    assert provider.calls() == 2


def test_the_password_is_nowhere_to_be_read(serve: StartService, redis_url: str) -> None:
    """Neither logs nor metrics nor probes hold the URL's password."""
    service = serve(TAILRACE_CACHE=redis_url)
    service.chat(temperature=0)
    texts = [service.http.get(path).text for path in ("/readyz", "/healthz", "/metrics")]
    service.process.terminate()
    service.process.wait(60)
    assert service.rows("listening")[0]["cache"] == "redis"
    assert PASSWORD not in "".join([*texts, service.stderr.read_text()])


@pytest.mark.parametrize("fault", ["nobody listens", "wrong password"])
def test_a_redis_that_cannot_be_used_turns_ready_red(serve: StartService, redis_url: str, fault: str) -> None:
    """Readiness names the cache, and requests are served without it."""
    url = "redis://127.0.0.1:9/0" if fault == "nobody listens" else redis_url.replace(PASSWORD, "wrong")
    service = serve(TAILRACE_CACHE=url)
    parts = eventually(service, 503)
    assert (parts["cache"]["ok"], parts["provider"]["ok"]) == (False, True)
    assert service.chat(temperature=0).status_code == 200


def test_a_refused_url_is_not_repeated() -> None:
    """The error of a URL that names no store holds no password."""
    done = start(TAILRACE_PROVIDER_URL="http://x/v1", TAILRACE_CACHE=f"redis://:{PASSWORD}@h/nonsense")
    assert done.returncode == 3
    assert "TAILRACE_CACHE: found a value that may hold a credential (not shown); expected one of: " in done.stderr
    assert PASSWORD not in done.stderr


@pytest.mark.tmpfs
def test_a_store_on_a_full_disk_costs_no_answer(serve: StartService, small_disk, tmp_path) -> None:
    """Calls are answered from the provider, and kept again once there is room; `tailrace cache` says what is wrong."""
    disk = small_disk(tmp_path / "disk", "1m")
    disks.fill(disk)
    service = serve(TAILRACE_CACHE=f"sqlite:{disk}/answers.db")

    def kept(content: str) -> list[str]:
        answers = [service.chat(content, temperature=0) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [200, 200]
        return [answer.headers["x-tailrace-cache"] for answer in answers]

    assert kept("full from the start") == ["miss", "miss"]
    (disk / disks.FILLER).unlink()
    assert kept("with room") == ["miss", "hit"]
    disks.fill(disk)
    assert kept("full again") == ["miss", "miss"]
    shown = CliRunner().invoke(main, ["cache", "--store", f"sqlite:{disk}/answers.db", "purge", "--all"])
    assert (shown.exit_code, "is full; free some space" in shown.output) == (3, True), shown.output
