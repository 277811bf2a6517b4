"""The resilient OpenAI client: a drop-in for the official SDK that caches and retries correctly."""

from tailrace.client.accounting import Attempt, Call
from tailrace.client.ask import AIConfig, aask, ask
from tailrace.client.call.causes import Cause
from tailrace.client.context import limits
from tailrace.client.drivers import AsyncDriver, Driver
from tailrace.client.errors import (
    AnswerTooLarge,
    BodyChanged,
    BudgetExceeded,
    CircuitOpen,
    ConnectionFailed,
    DeadlineExceeded,
    InputRejected,
    PriceUnknown,
    TimedOut,
    WrongEventLoop,
)
from tailrace.client.openai import AsyncOpenAI, OpenAI
from tailrace.client.policy import (
    AttemptHook,
    Breaker,
    Cache,
    Fallback,
    Hook,
    Limits,
    Policy,
    Price,
    Retry,
    Spend,
    Target,
)
from tailrace.client.request.guard import Guard, untrusted
from tailrace.client.stores import Memory, Sqlite
from tailrace.client.transports import async_transport, transport

__all__ = [
    "AIConfig",
    "AnswerTooLarge",
    "AsyncDriver",
    "AsyncOpenAI",
    "Attempt",
    "AttemptHook",
    "BodyChanged",
    "Breaker",
    "BudgetExceeded",
    "Cache",
    "Call",
    "Cause",
    "CircuitOpen",
    "ConnectionFailed",
    "DeadlineExceeded",
    "Driver",
    "Fallback",
    "Guard",
    "Hook",
    "InputRejected",
    "Limits",
    "Memory",
    "OpenAI",
    "Policy",
    "Price",
    "PriceUnknown",
    "Retry",
    "Spend",
    "Sqlite",
    "Target",
    "TimedOut",
    "WrongEventLoop",
    "aask",
    "ask",
    "async_transport",
    "limits",
    "transport",
    "untrusted",
]
