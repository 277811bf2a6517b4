"""Why an attempt failed, as the known providers spell it: type, code, message, status."""

import orjson
import pytest

from tailrace.client.call.causes import cause
from tailrace.client.wire import Response, Unanswered
from tailrace.protocol.error_document import read_error


def error(message="", **fields):
    return {"error": {"message": message, **fields}}


def google(message, status, code=429, *quotas):
    details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": q} for q in quotas]}]
    return [{"error": {"code": code, "message": message, "status": status, "details": details}}]


CURRENT = "You exceeded your current quota, please check your plan and billing details."
PER_MINUTE = "Rate limit reached for gpt-4o on requests per min. Limit: 3 / min. Please add a payment method to your "
ROWS = [
    # quota
    ("OpenAI", 429, error(CURRENT, type="insufficient_quota", code="insufficient_quota"), "quota"),
    ("the code is digits", 429, error(CURRENT, type="insufficient_quota", code="429"), "quota"),
    ("the code is a number", 429, error("m", type="insufficient_quota", code=429), "quota"),
    ("LiteLLM", 429, error("Budget has been exceeded!", type="budget_exceeded", code="429"), "quota"),
    ("LiteLLM, by its message", 400, error("ExceededBudget: User=x over budget", type=None, code="400"), "quota"),
    ("Gemini, in a list", 429, google(CURRENT, "RESOURCE_EXHAUSTED"), "quota"),
    ("Gemini, of a day", 429, google(CURRENT, "RESOURCE_EXHAUSTED", 429, "RequestsPerDayPerProject"), "quota"),
    ("Anthropic, no credit", 400, error("Your credit balance is too low", type="invalid_request_error"), "quota"),
    ("Anthropic, spend limit", 429, {"type": "error", "error": {"type": "rate_limit_error", "details":
        {"error_code": "enforced_spend_limit_reached"}}}, "quota"),
    ("DeepSeek", 402, error("Insufficient Balance", type="unknown_error", code="invalid_request_error"), "quota"),
    ("Kimi", 429, error("suspended", type="exceeded_current_quota_error"), "quota"),
    ("Kimi, of a cycle", 403, error("You've reached your usage limit for this billing cycle"), "quota"),
    ("xAI", 403, {"code": "forbidden", "error": "Your team has used all available credits"}, "quota"),
    ("Zhipu", 429, error("您的账户已欠费,请充值后重试", code="1113"), "quota"),
    ("Alibaba", 400, error("Access denied", code="Arrearage", type="Arrearage"), "quota"),
    ("OpenRouter, of a day", 429, error("Rate limit exceeded: free-models-per-day", code=429), "quota"),
    ("402 without a body", 402, None, "quota"),
    ("in FastAPI's detail", 400, {"detail": "Insufficient balance"}, "quota"),
    ("errors in a list", 429, {"errors": [{"code": "insufficient_quota", "message": "m"}]}, "quota"),
    ("upstream's, in OpenRouter's metadata", 403, error("Provider returned error", code=403,
        metadata={"raw": '{"error":{"message":"Insufficient balance"}}'}), "quota"),
    ("402 as a number", 429, error("m", code=402), "quota"),
    ("402 as digits", 429, error("m", code="402"), "quota"),
    ("402 as a status", 429, error("m", status=402), "quota"),
    ("402 under 500", 500, error("m", code=402), "quota"),
    ("problem details", 429, {"type": "about:blank", "title": "Payment Required", "status": 429}, "quota"),
    ("OAuth's description", 429, {"error": "denied", "error_description": CURRENT}, "quota"),
    ("a list of messages", 429, {"error": {"message": ["m", CURRENT]}}, "quota"),
    ("messages in a message", 429, {"message": {"error": {"code": "insufficient_quota"}}}, "quota"),
    ("in camel case", 429, error("m", code="InsufficientQuota"), "quota"),
    ("with hyphens", 429, error("m", code="insufficient-funds"), "quota"),
    ("text", 429, CURRENT.encode(), "quota"),
    ("text in Latin-1", 429, f"Fehler für Müller: {CURRENT}".encode("latin-1"), "quota"),
    ("events", 429, b'data: {"error": {"code": "insufficient_quota"}}', "quota"),
    ("after a byte order mark", 429, b'\xef\xbb\xbf{"error": {"code": "insufficient_quota"}}', "quota"),
    ("beside NaN", 429, b'{"error": {"code": "insufficient_quota", "left": NaN}}', "quota"),
    ("a page of a proxy", 429, b"<!DOCTYPE html><title>402 Payment Required</title>", "quota"),
    ("402 with a page", 402, b"<html><body>Too Many Requests</body></html>", "quota"),
    ("under 500", 500, error("user quota is not enough", code="insufficient_user_quota"), "quota"),
    # rates
    ("OpenAI, with talk of payment", 429, error(PER_MINUTE + "account.", code="rate_limit_exceeded"), "rate_limit"),
    ("Azure", 429, error("have exceeded token rate limit. Go here: https://aka.ms/oai/quotaincrease", code="429"),
     "rate_limit"),
    ("Anthropic", 429, {"type": "error", "error": {"type": "rate_limit_error", "message": "m"}}, "rate_limit"),
    ("Gemini, of a minute", 429, google(CURRENT, "RESOURCE_EXHAUSTED", 429, "InputTokensPerMinute"), "rate_limit"),
    ("Mistral", 429, {"object": "error", "message": "Requests rate limit exceeded", "type": "rate_limited",
                      "code": "1300"}, "rate_limit"),
    ("Bedrock", 429, {"message": "Too many tokens, please wait before trying again."}, "rate_limit"),
    ("Vertex, as 403", 403, google("Quota exceeded for requests per minute", "PERMISSION_DENIED", 403), "rate_limit"),
    ("OpenRouter, in flight", 402, error("m", code=402, metadata={"limit_source": "openrouter_in_flight_budget"}),
     "rate_limit"),
    ("429 without a body", 429, None, "rate_limit"),
    ("text", 429, b"slow down", "rate_limit"),
    ("text of a quota for a minute", 429, b"quota exceeded: 10 requests per minute", "rate_limit"),
    ("a page", 429, b"<html><title>429</title><p>payment required, insufficient balance</p>", "rate_limit"),
    ("text far down", 429, b"x" * 512 + CURRENT.encode(), "rate_limit"),
    ("402 in flight", 429, error("m", code=402, metadata={"limit_source": "openrouter_in_flight_budget"}),
     "rate_limit"),
    ("402 in the message", 429, error("wait 402 ms"), "rate_limit"),
    # credential
    ("401", 401, error("Incorrect API key provided", code="invalid_api_key"), "credential"),
    ("Gemini, as 400", 400, google("API key not valid. Please pass a valid API key.", "INVALID_ARGUMENT", 400),
     "credential"),
    ("xAI, as 400", 400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x"},
     "credential"),
    ("403 of a region", 403, error("m", code="unsupported_country_region_territory"), "credential"),
    # model
    ("OpenAI", 404, error("The model `x` does not exist or you do not have access to it.", code="model_not_found"),
     "model"),
    ("Groq", 400, error("The model `x` has been decommissioned", code="model_decommissioned"), "model"),
    ("Azure", 404, error("The API deployment for this resource does not exist.", code="DeploymentNotFound"), "model"),
    ("DeepSeek", 400, error("Model Not Exist", type="invalid_request_error"), "model"),
    ("Mistral", 400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
     "model"),
    ("Ollama", 404, error('model "x" not found, try pulling it first', type="api_error"), "model"),
    ("OpenRouter", 400, error("x/y is not a valid model ID", code=400), "model"),
    ("LiteLLM", 401, error("team not allowed to access model", type="team_model_access_denied"), "model"),
    ("no such path", 404, {"detail": "Not Found"}, "model"),
    # context length
    ("OpenAI", 400, error("maximum context length is 8192 tokens", code="context_length_exceeded"), "context_length"),
    ("OpenAI, more than a minute's tokens", 429, error("Request too large for gpt-4o on tokens per min (TPM)",
        type="tokens", code="rate_limit_exceeded"), "context_length"),
    ("Anthropic", 400, error("prompt is too long: 210000 tokens > 200000 maximum"), "context_length"),
    ("Gemini", 400, google("The input token count (12) exceeds the maximum number of tokens allowed (10)",
        "INVALID_ARGUMENT", 400), "context_length"),
    ("Together, as 403", 403, error("must be less than the context length of the model"), "context_length"),
    ("Kimi", 400, error("Invalid request: Your request exceeded model token limit: 262144"), "context_length"),
    ("llama.cpp, as 500", 500, error("the request exceeds the available context size"), "context_length"),
    ("TGI", 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
                  "error_type": "validation"}, "context_length"),
    ("413 of a proxy", 413, None, "context_length"),
    # content
    ("Azure", 400, {"error": {"code": "content_filter", "message": "The response was filtered", "innererror":
        {"code": "ResponsibleAIPolicyViolation"}}}, "content_filter"),
    ("OpenAI", 400, error("Your prompt was flagged as potentially violating our usage policy.", code="invalid_prompt"),
     "content_filter"),
    ("OpenRouter, as 403", 403, error("x requires moderation. Your input was flagged", code=403), "content_filter"),
    ("DeepSeek", 400, error("Content Exists Risk", code="invalid_request_error"), "content_filter"),
    ("Alibaba", 400, error("m", code="DataInspectionFailed"), "content_filter"),
    # the provider
    ("Anthropic", 529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, "server"),
    ("Kimi, as 429", 429, error("The engine is currently overloaded", type="engine_overloaded_error"), "server"),
    ("Groq's flex tier", 498, error("m", code="capacity_exceeded"), "server"),
    ("502 of a proxy", 502, None, "server"),
    ("408", 408, None, "timeout"),
    ("504", 504, None, "timeout"),
    # the request
    ("400", 400, error("Unsupported parameter: 'max_tokens' is not supported with this model.",
        code="unsupported_parameter"), "request"),
    ("what the caller wrote is not read in a text", 400, f"cannot read: {CURRENT}".encode(), "request"),
    ("what the caller wrote is not read", 422, {"detail": [{"msg": "Field required", "type": "missing",
        "input": {"messages": "insufficient balance, maximum context length"}}]}, "request"),
    ("a response that is gone", 404, error("Previous response with id 'resp_1' not found.",
        code="previous_response_not_found"), "request"),
    ("a file that is gone", 404, error("No such File object: file-1", type="invalid_request_error"), "request"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "document", "expected"), [row[1:] for row in ROWS],
                         ids=[f"{row[3]}: {row[0]}" for row in ROWS])  # fmt: skip
def test_a_cause_is_found_in_each_spelling(status, document, expected):
    """Code, type, message and status are read in the shapes of the known providers."""
    body = b"<html>" if document is None else document if isinstance(document, bytes) else orjson.dumps(document)
    assert cause(Response(status, (), body)) == expected


def test_no_answer_has_a_cause_and_a_good_one_has_none():
    """Negative control: a good answer has no cause, whatever its text says."""
    assert cause(Unanswered("timeout", "late")) == "timeout"
    assert cause(Unanswered("connection", "refused")) == "connection"
    assert cause(Response(200, (), b"{"), malformed=True) == "malformed"
    assert cause(Response(200, (), orjson.dumps(error(CURRENT)))) is None


def test_a_quota_for_a_day_with_a_moment_is_a_rate():
    """The limit of a day that slides is free again at the moment that the provider names."""
    body = orjson.dumps(error("Rate limit reached on tokens per day (TPD)", code="rate_limit_exceeded"))
    assert cause(Response(429, (("retry-after", "80"),), body)) == "rate_limit"
    assert cause(Response(429, (), body)) == "quota"


def test_a_document_of_any_size_costs_the_same():
    """At most 64 parts and 4,096 characters are read."""
    found = read_error({"errors": [{"code": str(number), "message": "m" * 9999} for number in range(10_000)]})
    assert len(found.codes) <= 64
    assert len(found.text) <= 4096


@pytest.mark.parametrize("code", ["You said: hello", "sk-" + "a" * 80, "", None, 429, True])
def test_only_a_plain_word_is_logged(code):
    """A code that is a sentence or a number is not the name of an error; its type takes its place."""
    assert read_error({"error": {"code": code}}).word == ""
    assert read_error({"error": {"code": code, "type": "overloaded_error"}}).word == "overloaded_error"
