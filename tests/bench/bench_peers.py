"""How the other load generators are started and read; each in its own environment (see bench_load)."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

Reader = Callable[[str], dict[str, float]]
Start = Callable[[Path, str, Path, float, int], tuple[list[str], Reader]]

LOCUST = """
from locust import FastHttpUser, constant_throughput, task

class Chat(FastHttpUser):
    {wait}

    @task
    def chat(self):
        asked = {{"model": "m", "messages": [{{"role": "user", "content": "hello"}}]}}
        self.client.post("/chat/completions", json=asked)
"""
WORDS = ("ra", "ne", "to", "li", "mu", "sa", "ke", "do", "vi", "po")


class Missing(Exception):
    """The generator is not here, or cannot do this."""


def locust(home: Path, url: str, folder: Path, seconds: float, rate: int) -> tuple[list[str], Reader]:
    users, wait = (100, f"wait_time = constant_throughput({rate / 100})") if rate else (32, "")
    file = folder / "locustfile.py"
    file.write_text(LOCUST.format(wait=wait))
    command = [str(home / "bin" / "locust"), "-f", str(file), "--headless", "--json", "-H", url,
               "-t", f"{seconds:g}s", "-u", str(users), "-r", str(users)]  # fmt: skip

    def read(said: str) -> dict[str, float]:
        (found,) = json.loads(said[said.index("[") :])
        times = sorted((float(ms), count) for ms, count in found["response_times"].items())
        span_s = found["last_request_timestamp"] - found["start_time"]
        return {"rate": found["num_requests"] / span_s, "p50": _counted(times, 0.5), "p99": _counted(times, 0.99)}

    return command, read


def aiperf(home: Path, url: str, folder: Path, seconds: float, rate: int) -> tuple[list[str], Reader]:
    pace = ["--request-rate", str(rate), "--arrival-pattern", "constant"] if rate else ["--concurrency", "32"]
    command = [str(home / "bin" / "aiperf"), "profile", "-m", "mock", "-u", url.removesuffix("/v1"),
               "--endpoint-type", "chat", "--tokenizer", str(tokenizer(home)), "--ui", "none", "--no-gpu-telemetry",
               "--no-server-metrics", "--isl", "16", "--osl", "8", "--use-server-token-count",
               "--num-dataset-entries", "100", "--workers-max", "1", "--record-processor-service-count", "1",
               *pace, "--benchmark-duration", f"{max(1, round(seconds))}", "--artifact-dir", str(folder)]  # fmt: skip

    def read(said: str) -> dict[str, float]:
        file = next(folder.rglob("profile_export_aiperf.json"), None)
        if file is None:
            raise Missing(f"aiperf wrote no result: {said.strip()[-200:]}")
        found = json.loads(file.read_text())
        latency = found["request_latency"]
        return {"rate": found["request_throughput"]["avg"], "p50": latency["p50"], "p99": latency["p99"]}

    return command, read


def guidellm(home: Path, url: str, folder: Path, seconds: float, rate: int) -> tuple[list[str], Reader]:
    out = folder / "guidellm.json"
    profile = f"kind=constant,rate={rate}" if rate else "kind=concurrent,streams=32"
    kind = (
        f"kind=openai_http,target={url.removesuffix('/v1')},model=mock,stream=false,request_format=/v1/chat/completions"
    )
    command = ["env", "GUIDELLM__MAX_WORKER_PROCESSES=1", str(home / "bin" / "guidellm"), "run", "--backend", kind,
               "--tokenizer", f"kind=huggingface_auto,model={tokenizer(home)}",
               "--data", "kind=synthetic_text,prompt_tokens=16,output_tokens=8", "--disable-console-interactive",
               "--constraint", f"kind=max_duration,seconds={seconds:g}", "--profile", profile,
               "--output", f"kind=json,path={out}"]  # fmt: skip

    def read(said: str) -> dict[str, float]:
        if not out.exists():
            raise Missing(f"guidellm wrote no result: {said.strip()[-200:]}")
        metrics = json.loads(out.read_text())["benchmarks"][0]["metrics"]
        seconds_of = metrics["request_latency"]["successful"]["percentiles"]
        rate_of = metrics["requests_per_second"]["successful"]["mean"]
        return {"rate": rate_of, "p50": seconds_of["p50"] * 1e3, "p99": seconds_of["p99"] * 1e3}

    return command, read


PEERS: dict[str, Start] = {"locust": locust, "aiperf": aiperf, "guidellm": guidellm}


def tokenizer(home: Path) -> Path:
    """A byte-level BPE of 600 words, made once with the peer's own libraries: no download."""
    made = home / "tokenizer"
    if not made.exists():
        program = f"""
from tokenizers import ByteLevelBPETokenizer
from transformers import PreTrainedTokenizerFast
model = ByteLevelBPETokenizer()
model.train_from_iterator([" ".join({WORDS!r}[i * j % 10] for i in range(50)) for j in range(50)], vocab_size=600,
                          special_tokens=["<s>", "</s>"])
fast = PreTrainedTokenizerFast(tokenizer_object=model._tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>")
fast.chat_template = "{{% for m in messages %}}{{{{ m.content }}}}{{% endfor %}}"
fast.save_pretrained({str(made)!r})
"""
        done = subprocess.run([home / "bin" / "python", "-c", program], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Missing("no tokenizer: " + re.sub(r"\s+", " ", done.stderr)[-200:])
    return made


def _counted(times: list[tuple[float, int]], q: float) -> float:
    """The quantile of counted values, by inverted_cdf."""
    wanted, seen = q * sum(count for _, count in times), 0
    for value, count in times:
        seen += count
        if seen >= wanted:
            return value
    return float("nan")
