"""The simulated provider as a function from request to delivery; nothing here touches a socket."""

from __future__ import annotations

from collections.abc import Callable

import orjson

from tailrace.simulator import api_errors, chat, completions, embeddings, models, responses
from tailrace.simulator.api_errors import ApiError
from tailrace.simulator.api_request import ApiRequest, ParsedRequest
from tailrace.simulator.api_response import ApiResponse
from tailrace.simulator.delivery import Delivery, paced, replaced, whole, with_fault
from tailrace.simulator.faults import FaultScript
from tailrace.simulator.latency import Pace
from tailrace.simulator.settings import Settings

ENDPOINTS: dict[str, Callable[[ParsedRequest], ApiResponse]] = {
    "/v1/chat/completions": chat.respond,
    "/v1/completions": completions.respond,
    "/v1/responses": responses.respond,
    "/v1/embeddings": embeddings.respond,
}
MODELS = "/v1/models"


class SimulatedProvider:
    """Responses, latency and faults, all from one seed."""

    def __init__(self, settings: Settings, clock: Callable[[], float]) -> None:
        self.settings, self._clock = settings, clock
        self.pace = Pace(settings.latency, settings.seed)
        self.dialect = settings.dialect
        self.script = FaultScript(settings.faults, settings.seed, clock)

    def reset(self) -> None:
        """Return to the initial latency and dialect, without faults; every random sequence starts again."""
        self.pace = Pace(self.settings.latency, self.settings.seed)
        self.dialect = self.settings.dialect
        self.script = FaultScript((), self.settings.seed, self._clock)

    def deliver(self, request: ApiRequest) -> Delivery:
        """Return the delivery for a request under /v1/."""
        fault = self.script.next(inference=request.path in ENDPOINTS, stream=request.stream)
        if fault is not None and (replacement := replaced(fault)) is not None:
            return replacement
        try:
            response = self._respond(request, empty=fault is not None and fault.kind == "empty_answer")
        except ApiError as error:
            return whole(error.response)
        if request.path not in ENDPOINTS:
            return whole(response)
        delivery = paced(response, self.pace, self.dialect.keep_alive_s)
        return delivery if fault is None else with_fault(delivery, fault)

    def _respond(self, request: ApiRequest, *, empty: bool) -> ApiResponse:
        if request.deployment and "api-version=" not in request.query:
            raise api_errors.no_resource()
        self._check_key(request)
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None:
            return _models(request)
        if request.method != "POST":
            raise api_errors.no_method(request.method, request.path, "POST")
        if request.content is None:
            raise api_errors.not_json()
        try:
            digest = request.digest(self.settings.seed)
        except orjson.JSONEncodeError:  # nested deeper than orjson writes
            raise api_errors.not_json() from None
        return endpoint(ParsedRequest(request.content, digest, 0 if empty else self.settings.tokens, self.dialect))

    def _check_key(self, request: ApiRequest) -> None:
        credential = request.headers.get("authorization")
        if credential is None and "api-key" in request.headers:  # Azure's header
            credential = f"Bearer {request.headers['api-key']}"
        if credential is None and self.settings.require_key:
            raise api_errors.no_key("You didn't provide an API key.")
        if credential is not None and (not credential.startswith("Bearer ") or not credential[7:].strip()):
            raise api_errors.no_key("Incorrect API key provided.")


def _models(request: ApiRequest) -> ApiResponse:
    path = request.path
    if path != MODELS and not path.startswith(MODELS + "/"):
        raise api_errors.no_path(request.method, path)
    if request.method != "GET":
        raise api_errors.no_method(request.method, path, "GET")
    return models.listed() if path == MODELS else models.one(path.removeprefix(MODELS + "/"))
