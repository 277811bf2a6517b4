"""Why an attempt failed, in one word, whoever the provider is.

connection, timeout, malformed   no answer, none in time, or one that should be JSON and is not
rate_limit                       too much at once: the next attempt may succeed
quota                            the account, key or budget is used up: somebody has to pay or to wait for long
credential                       the key is wrong, or may not do this
model                            the model, deployment or path is not there, or not for this key
context_length                   the request is larger than this model or account takes
content_filter                   the provider refuses the content
server                           the provider failed or is overloaded
request                          anything else that is wrong with the request: it is wrong everywhere; also one that is
                                 answered with more than is kept
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from tailrace.client.wire import Response, Unanswered, header
from tailrace.protocol.error_document import NO_ERROR, ErrorDocument, read_error, read_error_text
from tailrace.protocol.reading import loads

Cause: TypeAlias = Literal[
    "connection", "timeout", "malformed", "rate_limit", "quota", "credential", "model", "context_length",
    "content_filter", "server", "request",
]  # fmt: skip
CAUSES: Final[frozenset[Cause]] = frozenset(get_args(Cause))
TRANSIENT: Final[frozenset[Cause]] = frozenset({"connection", "timeout", "malformed", "rate_limit", "server"})
"""The next attempt may succeed."""
_MOST_BYTES: Final = 1 << 20
"""A larger body is read no further than its status: an error is a few hundred bytes."""


class Spelling(NamedTuple):
    """One way in which providers spell a cause: a code, whole, or a phrase in the message, under one of `statuses`."""

    cause: Cause
    codes: frozenset[str]
    phrases: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()
    """Empty: under any."""

    def fits(self, codes: tuple[str, ...], text: str, status: int) -> bool:
        if self.statuses and status not in self.statuses:
            return False
        return not self.codes.isdisjoint(codes) or bool(self.phrases and self.phrases.search(text))


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


_REFUSALS: Final = frozenset(range(400, 500)) - {408, 409, 429}
_REPEAT_THE_REQUEST: Final = frozenset({400, 422})
"""What is wrong with the request stands in a text beside what the caller wrote, which says nothing."""
_BUSY: Final = frozenset({200, 408, 409, 429, 498, *range(500, 600)})

# The first that fits counts. The pages on which providers list their errors:
#   OpenAI       https://platform.openai.com/docs/guides/error-codes
#   Azure        https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter, …/how-to/quota
#   Anthropic    https://docs.claude.com/en/api/errors
#   Gemini       https://ai.google.dev/gemini-api/docs/troubleshooting
#   Bedrock      https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html
#   DeepSeek     https://api-docs.deepseek.com/quick_start/error_codes
#   Mistral      https://docs.mistral.ai/api
#   Groq         https://console.groq.com/docs/errors
#   xAI          https://docs.x.ai/docs/key-information/debugging
#   Together     https://docs.together.ai/docs/error-codes
#   Kimi         https://www.kimi.com/code/docs/en/kimi-code/error-reference.html
#   Zhipu        https://docs.bigmodel.cn/cn/api/api-code (codes of four digits that begin with 1)
#   Alibaba      https://help.aliyun.com/en/model-studio/error-code
#   OpenRouter   https://openrouter.ai/docs/api/reference/errors-and-debugging
#   LiteLLM      https://docs.litellm.ai/docs/proxy/error_reference, …/docs/exception_mapping
#   vLLM, TGI, llama.cpp, Ollama: their sources
SPELLINGS: Final = (
    Spelling(  # another object than the model is missing
        "request",
        _codes("previous_response_not_found file_not_found conversation_not_found"),
        re.compile(
            r"no such (?!model)\w+|\b(file|response|conversation|thread|container|item)s?\b[^.]{0,80} not found"
        ),
        frozenset({400, 404}),
    ),
    Spelling(  # larger than the tokens of a whole minute: no wait helps (OpenAI, Groq)
        "context_length",
        frozenset(),
        re.compile(r"request too large for"),
        frozenset({200, 413, 429}),
    ),
    Spelling(
        "context_length",
        _codes(
            "context_length_exceeded context_window_exceeded contextwindowexceedederror exceed_context_size_error"
            " string_above_max_length request_too_large token_limit_exceeded string_too_long 1261"
        ),
        re.compile(
            r"context[ _](length|window|size|limit)|prompt is too long|input is too long|too many tokens:"
            r"|(exceed\w*|reached) (the )?(maximum number of tokens|model token limit)|maximum prompt length"
            r"|reduce the length|range of input length|inputs?`? (tokens \+|must have less)|prompt 超长"
        ),
        frozenset({200, *_REFUSALS, *range(500, 600)}),
    ),
    Spelling(
        "content_filter",
        _codes(
            "content_filter content_policy_violation contentpolicyviolationerror responsibleaipolicyviolation"
            " moderation_blocked data_inspection_failed datainspectionfailed sensitive_words_detected"
            " content_filtered content_moderation prohibited_content guardrail_intervened 1301"
        ),
        re.compile(
            r"content (management policy|policy|filter)|contents? exists risk|usage (policy|policies|guidelines)"
            r"|safety system|inappropriate content|was flagged|requires moderation|considered high risk|敏感内容"
        ),
        frozenset({200, *_REFUSALS, *range(500, 600)}),
    ),
    Spelling(  # the budget of the calls that are under way: it is free again when they end (OpenRouter)
        "rate_limit",
        _codes("openrouter_in_flight_budget in_flight_budget_exhausted"),
        re.compile(r"in.flight budget"),
    ),
    Spelling(
        "quota",
        _codes(
            "insufficient_quota billing_hard_limit_reached billing_not_active billing_error payment_required"
            " budget_exceeded insufficient_balance insufficientbalance insufficient_credits insufficient_funds"
            " insufficient_user_quota pre_consume_token_quota_failed exceeded_current_quota_error quota_exceeded"
            " quotaexceeded credit_limit_exceeded credits_exhausted spend_limit_exceeded spend_limit_reached"
            " enforced_spend_limit_reached usage_limit_reached arrearage accountoverdueerror"
            " allocationquota.freetieronly openrouter_credits openrouter_key_limit 402 1113 1304 1308 1309 1310"
        ),
    ),
    Spelling(  # a quota for a minute is a rate (Gemini, Vertex)
        "rate_limit",
        frozenset(),
        re.compile(r"(per[ _-]?|/ ?)(min|sec)|\([rt]pm\)"),
        frozenset({200, 403, 429}),
    ),
    Spelling(
        "quota",
        frozenset(),
        re.compile(
            r"(insufficient|not enough)[ _-]?(account )?(balance|credit|fund|quota)|credit balance is too low"
            r"|over budget|exceeded your current quota|budget has been exceeded|exceededbudget"
            r"|out of (credits|call volume quota)|used all available credits|payment required|overdue"
            r"|(spend|spending|usage|billing hard) limit|in good standing|欠费|余额不足|额度不足|额度失败"
        ),
    ),
    Spelling(
        "model",
        _codes(
            "model_not_found model_not_available modelnotfound invalid_model unknown_model unsupported_model"
            " model_not_supported model_decommissioned model_deprecated deploymentnotfound deployment_not_found"
            " key_model_access_denied team_model_access_denied user_model_access_denied org_model_access_denied"
            " 1211 1311"
        ),
        re.compile(
            r"models? not exist|no such model|(invalid|unknown|unsupported) model\b|not a valid model"
            r"|model (identifier|id|name) is (invalid|not valid)|(have|allowed|unable) (access )?to (access )?model"
            r"|\b(model|deployment)\b.{0,160}(does not exist|not found|decommissioned|is deprecated|been retired)"
        ),
        _REFUSALS | {200},
    ),
    Spelling(
        "credential",
        _codes(
            "invalid_api_key invalidapikey incorrect_api_key api_key_invalid missing_api_key expired_api_key"
            " expired_key authentication_error auth_error invalid_authentication_error unauthenticated unauthorized"
            " invalid_token"
            " token_not_found_in_db permission_denied permission_error permissiondenied access_denied accessdenied"
            " accessdeniedexception unrecognizedclientexception expiredtokenexception account_deactivated"
            " access_terminated unsupported_country_region_territory organization_restricted ip_not_authorized"
            " 1000 1001 1002 1003 1004 1110 1111 1112 1121"
        ),
        re.compile(
            r"(invalid|incorrect|missing|expired|no) (x-)?api[ _-]key|api[ _-]key (is |not |was )?(not valid|not found"
            r"|valid|invalid|expired|missing)|authentication fail|invalid authentication|no auth credentials"
            r"|location is not supported"
        ),
        _REFUSALS - {402, 404} | {200},
    ),
    Spelling("credential", _codes("account_deactivated access_terminated")),
    Spelling("timeout", _codes("timeout timeout_error deadline_exceeded request_timeout gateway_timeout"), None, _BUSY),
    Spelling(
        "rate_limit",
        _codes(
            "rate_limit_exceeded rate_limit_error rate_limit rate_limited rate_limit_reached_error ratelimitreached"
            " ratelimitexceeded resource_exhausted too_many_requests throttlingexception throttling_error throttling"
            " throttling.ratequota throttling.allocationquota limit_requests limit_tokens 1302 1303 1305"
        ),
        re.compile(r"rate limit|too many requests|resource (has been )?exhausted"),
        frozenset({200, 400, 403, 429, *range(500, 600)}),
    ),
    Spelling(
        "server",
        _codes(
            "server_error internal_server_error internal_error internal api_error overloaded_error overloaded"
            " engine_overloaded_error model_overloaded service_unavailable service_unavailable_error unavailable"
            " server_overloaded bad_gateway upstream_error provider_error capacity_exceeded"
            " service_tier_capacity_exceeded 1234 1312"
        ),
        None,
        _BUSY,
    ),
    Spelling(
        "request",
        _codes(
            "invalid_request_error invalid_request bad_request badrequesterror invalid_argument invalid_prompt"
            " invalidparameter validation_error unprocessable_entity value_error missing unsupported_parameter"
        ),
        None,
        frozenset({200}),
    ),
)
_LONG_QUOTA: Final = re.compile(r"(per|this|/)[ _-]?(day|week|month)|\([rt]pd\)|daily|weekly|monthly")
_OF_STATUS: Final[dict[int, Cause]] = {
    401: "credential", 402: "quota", 403: "credential", 404: "model", 407: "credential", 408: "timeout",
    409: "server", 410: "model", 413: "context_length", 429: "rate_limit", 498: "server", 504: "timeout",
    524: "timeout",
}  # fmt: skip


def cause(outcome: Response[Any] | Unanswered, malformed: bool = False) -> Cause | None:
    """Return why the attempt with `outcome` failed; None when it did not.

    `malformed` says that a success should be JSON and is not.
    """
    if isinstance(outcome, Unanswered):
        return "request" if outcome.kind == "too_large" else outcome.kind
    if outcome.status < 400:
        return "malformed" if malformed else None
    return error_cause(error_of(outcome), outcome.status, _names_a_moment(outcome))


def error_cause(error: ErrorDocument, status: int, waitable: bool = False) -> Cause:
    """Return the cause of `error`, which came with `status`; 200 for an error under a status of success.

    `waitable` says that the provider names the moment from which it answers again.
    """
    text = f"{error.text} {' '.join(error.codes)}"
    if status == 429 and not waitable and _LONG_QUOTA.search(text):
        return "quota"
    for spelling in SPELLINGS:
        if spelling.fits(error.codes, text, status):
            return spelling.cause
    return _OF_STATUS.get(status, "request" if 400 <= status < 500 else "server")


def error_of(response: Response[Any]) -> ErrorDocument:
    """Return what the body of `response`, which has an error status, says of the error."""
    body = response.body
    if not isinstance(body, bytes) or len(body) > _MOST_BYTES:
        return NO_ERROR
    try:
        return read_error(loads(body))
    except ValueError:
        return NO_ERROR if response.status in _REPEAT_THE_REQUEST else read_error_text(body)


def _names_a_moment(response: Response[Any]) -> bool:
    value = header(response.headers, "retry-after")
    try:
        return value is not None and 0 < float(value) < math.inf
    except ValueError:
        return value is not None and len(value) > 20  # an HTTP date
