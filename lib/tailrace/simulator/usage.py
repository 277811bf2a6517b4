"""The usage of a chat or completion, as the API states it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class ChatUsage:
    """The tokens of a request, all but those of its answer."""

    in_tok: int
    cached_tok: int
    reasoning_tok: int = 0

    def fields(self, out_tok: int) -> dict[str, Any]:
        """Return the usage of an answer with `out_tok` tokens, those of reasoning included."""
        return {
            "prompt_tokens": self.in_tok,
            "completion_tokens": out_tok,
            "total_tokens": self.in_tok + out_tok,
            "prompt_tokens_details": {"cached_tokens": self.cached_tok, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": min(self.reasoning_tok, out_tok),
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        }

    def json(self, out_tok: int) -> bytes:
        return orjson.dumps(self.fields(out_tok))
