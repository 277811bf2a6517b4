"""The provider as a function: a request goes in, a reply comes out; nothing here touches a socket."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from tailrace.simulator import chat, embeddings, models, refusals, replies, responses
from tailrace.simulator.answers import Answer, Question
from tailrace.simulator.faults import Script
from tailrace.simulator.latency import Pace
from tailrace.simulator.replies import Reply
from tailrace.simulator.requests import Request
from tailrace.simulator.settings import Settings

ENDPOINTS: dict[str, Callable[[Question], Answer]] = {
    "/v1/chat/completions": chat.answer,
    "/v1/responses": responses.answer,
    "/v1/embeddings": embeddings.answer,
}
MODELS = "/v1/models"


class Provider:
    """Answers, latency and faults, from one seed."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings, self._clock = settings, clock
        self.pace = Pace(settings.latency, settings.seed)
        self.script = Script(settings.faults, settings.seed, clock)

    def reset(self) -> None:
        """Begin anew: no faults, the latency of the start, all random sequences at their beginning."""
        self.pace = Pace(self.settings.latency, self.settings.seed)
        self.script = Script((), self.settings.seed, self._clock)

    def reply(self, request: Request) -> Reply:
        """Return what is done for a request under /v1/."""
        fault = self.script.next(inference=request.path in ENDPOINTS, stream=request.stream)
        if fault is not None and (reply := replies.refused(fault)) is not None:
            return reply
        try:
            answer = self._answer(request)
        except refusals.Refusal as refusal:
            return replies.plain(refusal.answer)
        if request.path not in ENDPOINTS:
            return replies.plain(answer)
        reply = replies.paced(answer, self.pace)
        return reply if fault is None else replies.spoiled(reply, fault)

    def _answer(self, request: Request) -> Answer:
        if request.deployment and "api-version=" not in request.query:
            raise refusals.no_resource()
        self._check_key(request)
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None:
            return _models(request)
        if request.method != "POST":
            raise refusals.no_method(request.method, request.path, "POST")
        if request.content is None:
            raise refusals.not_json()
        try:
            digest = request.digest(self.settings.seed)
        except orjson.JSONEncodeError:  # nested deeper than orjson writes
            raise refusals.not_json() from None
        return endpoint(Question(request.content, digest, self.settings.tokens))

    def _check_key(self, request: Request) -> None:
        given = request.headers.get("authorization")
        if given is None and "api-key" in request.headers:  # as Azure has it
            given = f"Bearer {request.headers['api-key']}"
        if given is None and self.settings.require_key:
            raise refusals.no_key("You didn't provide an API key.")
        if given is not None and (not given.startswith("Bearer ") or not given[7:].strip()):
            raise refusals.no_key("Incorrect API key provided.")


def _models(request: Request) -> Answer:
    path = request.path
    if path != MODELS and not path.startswith(MODELS + "/"):
        raise refusals.no_path(request.method, path)
    if request.method != "GET":
        raise refusals.no_method(request.method, path, "GET")
    return models.listed() if path == MODELS else models.one(path.removeprefix(MODELS + "/"))
