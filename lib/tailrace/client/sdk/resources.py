"""What is put before the `create` of the SDK's resources: the short way to a hit, and the lean way to the rest."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import orjson

from tailrace.client.sdk.arguments import from_sdk, lean, plain
from tailrace.client.sdk.recall import ANSWERED, Recall


def recalled(resource: Any, operation: str, recall: Recall | None) -> Callable[..., Any]:
    """Return the `create` of a synchronous resource with the short way before it."""
    bare, create, known_as = copy.copy(resource), resource.create, _own(resource)
    leaner = lean(create)

    @functools.wraps(create)
    def recalling(*unnamed: Any, **arguments: Any) -> Any:
        text = plain(arguments) if not unnamed and _own(resource) is known_as else None
        if text is None:
            return bare.create(*unnamed, **arguments)  # by its class, whatever that has now
        mark = recall.mark(operation, arguments, text) if recall is not None else None
        if recall is None or mark is None:
            return leaner(**orjson.loads(text))
        known = recall.answer(mark)
        if known is not None:
            return known
        keys: list[str] = []
        token = ANSWERED.set(keys)
        try:
            parsed = leaner(**orjson.loads(text))
        finally:
            ANSWERED.reset(token)
        if len(keys) == 1 and keys[0]:
            recall.learn(mark, keys[0], parsed)
        return parsed

    return recalling


def arecalled(resource: Any, operation: str, recall: Recall | None) -> Callable[..., Any]:
    """Return the `create` of an asynchronous resource with the short way before it."""
    bare, create, known_as = copy.copy(resource), resource.create, _own(resource)
    leaner = lean(create)

    @functools.wraps(create)
    async def recalling(*unnamed: Any, **arguments: Any) -> Any:
        text = plain(arguments) if not unnamed and _own(resource) is known_as else None
        if text is None:
            return await bare.create(*unnamed, **arguments)  # by its class, whatever that has now
        mark = recall.mark(operation, arguments, text) if recall is not None else None
        if recall is None or mark is None:
            return await leaner(**orjson.loads(text))
        known = recall.answer(mark)
        if known is not None:
            return known
        keys: list[str] = []
        token = ANSWERED.set(keys)
        try:
            parsed = await leaner(**orjson.loads(text))
        finally:
            ANSWERED.reset(token)
        if len(keys) == 1 and keys[0]:
            recall.learn(mark, keys[0], parsed)
        return parsed

    return recalling


def shortened(resource: Any, operation: str, recall: Recall | None, wrap: Callable[..., Any]) -> Any:
    """Return `resource` with the short way on its `create`; the instance has it, the SDK's class is untouched.

    A `create` that somebody has put before the SDK's, to watch calls or to change them, is left to see every call.
    """
    if from_sdk(_own(resource)):
        ours = recall if recall is not None and recall.of(resource._client) else None  # a copy.copy() has another's
        resource.create = wrap(resource, operation, ours)
    return resource


def _own(resource: Any) -> Any:
    """Return what the class of `resource` has as its `create`, unbound."""
    return vars(type(resource)).get("create")
