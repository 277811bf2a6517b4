"""Which headers of a request are left out of its cache key: those that cannot change an answer.

Any other header is in the key, so a header of this table that did change an answer, or say who asks, would give one
caller the answer to another. A caller's own are added by `Cache(ignore_headers=…)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from tailrace.headers import OURS

LeftOut: TypeAlias = Callable[[str, str], bool]
"""Given the name of a header, in lower case, and its value: whether it is left out of the key."""

TRANSPORT: Final = frozenset(
    {"accept-encoding", "cache-control", "connection", "content-length", "date", "dnt", "early-data", "expect",
     "forwarded", "from", "host", "idempotency-key", "keep-alive", "max-forwards", "origin", "pragma", "priority",
     "referer", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via", "x-idempotency-key"}
)  # fmt: skip
"""About a request on its way (RFC 9110, 9112, 9218, 8470), not about its answer."""
PROXIES: Final = frozenset(
    {"cdn-loop", "cf-connecting-ip", "cf-connecting-ipv6", "cf-ew-via", "cf-ray", "cf-request-id", "cf-visitor",
     "cf-worker", "fastly-client-ip", "fly-request-id", "rndr-id", "true-client-ip", "x-akamai-request-id",
     "x-amz-cf-id", "x-appgw-trace-id", "x-arr-log-id", "x-azure-clientip", "x-azure-ref", "x-azure-socketip",
     "x-client-ip", "x-cluster-client-ip", "x-forwarded-by", "x-forwarded-for", "x-forwarded-host",
     "x-forwarded-port", "x-forwarded-prefix", "x-forwarded-proto", "x-forwarded-scheme", "x-forwarded-server",
     "x-forwarded-ssl", "x-kong-request-id", "x-original-forwarded-for", "x-queue-start", "x-railway-request-id",
     "x-real-ip", "x-request-start", "x-unique-id", "x-varnish", "x-vcap-request-id",
     "x-vercel-id"}
)  # fmt: skip
"""Added on the way by proxies, each by its own documentation: Cloudflare (https://developers.cloudflare.com/fundamentals/
reference/http-headers/), CloudFront, Azure Front Door, Akamai, Fastly, Kong, HAProxy, Varnish, Heroku, Vercel, Fly."""
TRACING: Final = frozenset(
    {
        # W3C: https://www.w3.org/TR/trace-context/, https://www.w3.org/TR/baggage/
        "traceparent", "tracestate", "baggage",
        # Zipkin: https://github.com/openzipkin/b3-propagation
        "b3",
        # Jaeger: https://www.jaegertracing.io/docs/1.76/client-libraries/
        "uber-trace-id", "jaeger-debug-id", "jaeger-baggage",
        # Sentry: https://develop.sentry.dev/sdk/telemetry/traces/
        "sentry-trace",
        # New Relic: https://docs.newrelic.com/docs/distributed-tracing/concepts/how-new-relic-distributed-tracing-works/
        "newrelic",
        # AWS: https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html
        "x-amzn-trace-id", "x-amzn-requestid", "x-amzn-request-id", "x-amz-request-id",
        # Google Cloud: https://cloud.google.com/trace/docs/trace-context
        "x-cloud-trace-context", "grpc-trace-bin",
        # Azure: https://learn.microsoft.com/azure/azure-monitor/app/correlation
        "request-id", "request-context", "correlation-context", "x-ms-request-id", "x-ms-client-request-id",
        "x-ms-correlation-request-id", "x-ms-request-root-id", "x-ms-request-parent-id",
        # Elastic: https://www.elastic.co/docs/reference/apm/agents
        "elastic-apm-traceparent",
        # SkyWalking: https://skywalking.apache.org/docs/main/latest/en/api/x-process-propagation-headers-v3/
        "sw6", "sw8", "sw8-correlation", "sw8-x",
        # Dynatrace, AppDynamics, Honeycomb, SolarWinds, Lightstep: their agents' documentation
        "x-dynatrace", "singularityheader", "x-honeycomb-trace", "x-trace", "x-trace-options",
        "x-trace-options-signature", "x-ot-span-context",
        # observers of model calls: LangSmith, Portkey, Helicone, LiteLLM
        "langsmith-trace", "x-portkey-trace-id", "x-portkey-span-id", "x-portkey-parent-span-id",
        "x-portkey-span-name", "helicone-request-id", "x-litellm-call-id", "x-litellm-trace-id",
        # by custom: https://en.wikipedia.org/wiki/List_of_HTTP_header_fields
        "x-request-id", "x-client-request-id", "x-correlation-id", "correlation-id", "x-trace-id", "trace-id",
        "x-span-id", "span-id", "x-parent-span-id", "x-transaction-id", "x-global-transaction-id", "x-flow-id",
    }
)  # fmt: skip
"""Names of traces and requests: another value in each request."""
PREFIXES: Final = (
    OURS, "eagleeye-", "helicone-session-", "ot-baggage-", "ot-tracer-", "pinpoint-", "sec-", "uberctx-", "x-b3-",
    "x-datadog-", "x-envoy-", "x-instana-", "x-newrelic-", "x-stainless-",
)  # fmt: skip
"""Alibaba, Helicone, OpenTracing (two), Pinpoint, browsers, Jaeger, Zipkin, Datadog, Envoy, Instana, New Relic and the
SDK: all that begins so. Not `x-forwarded-`: with `-user` or `-access-token` a proxy says who asks."""
NEUTRAL: Final = TRANSPORT | PROXIES | TRACING

NEUTRAL_COOKIES: Final = frozenset({"__cf_bm", "_cfuvid", "__cflb", "cf_clearance"})
"""Set by a load balancer on the way; any other cookie may identify the caller."""


def neutral(name: str, value: str = "") -> bool:
    """Whether the header `name` (lower case) does not change the answer."""
    if name == "cookie":
        return all(cookie.partition("=")[0].strip() in NEUTRAL_COOKIES for cookie in value.split(";"))
    return name in NEUTRAL or name.startswith(PREFIXES)
