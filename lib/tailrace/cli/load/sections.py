"""The help text of `tailrace load`, its options in sections: a list of forty cannot be read."""

from __future__ import annotations

import re
from typing import Final

import click

SECTIONS: Final = {
    "When requests are sent": (
        "rate", "duration", "arrivals", "to_rate", "cv", "on_s", "off_s", "users", "think_s", "sessions",
        "turns", "trace", "speed", "keep",
    ),
    "What is sent": (
        "endpoint", "stream", "model", "prompts", "prompt_tokens", "system_tokens", "max_tokens", "temperature",
        "repeat", "zipf", "tenant", "extra_body", "seed",
    ),
    "To whom": ("api_key_env", "header", "timeout", "shards", "rehearse", "tokenizer", "server_metrics"),
    "What is judged": ("slo", "goodput", "error_rate", "find"),
    "What is written": ("floor", "out", "as_json", "help"),
}  # fmt: skip
"""The parameters of each section, in order."""


_NOISE: Final = re.compile(r"  \[x>=?0\]|; x>=?0(?=\])| (FLOAT|INTEGER)(?: RANGE)?$")
"""What click writes behind every number."""


class SectionedCommand(click.Command):
    """A command whose help text lists its options by `SECTIONS`, one that stands in none of them last."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        options = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        records = {_name(option): record for option in options if (record := option.get_help_record(ctx))}
        sections = {
            title: [records.pop(name) for name in names if name in records] for title, names in SECTIONS.items()
        }
        for title, section in {**sections, "Others": list(records.values())}.items():
            if section:
                with formatter.section(title):
                    formatter.write_dl(list(map(_plain, section)))


def _name(option: click.Option) -> str:
    return "help" if "--help" in option.opts else str(option.name)


def _plain(record: tuple[str, str]) -> tuple[str, str]:
    """Return the record with N for a number, and without the limit that it is not negative."""
    option, text = record
    return _NOISE.sub(" N", option), _NOISE.sub("", text)
