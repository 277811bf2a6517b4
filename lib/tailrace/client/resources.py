"""What is put before the `create` of the SDK's resources: the short way to a hit, and the lean way to the rest."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import orjson

from tailrace.client.arguments import lean, plain
from tailrace.client.recall import ANSWERED, Recall


def recalled(create: Callable[..., Any], operation: str, recall: Recall | None) -> Callable[..., Any]:
    """Return `create` (a bound method of a synchronous resource) with the short way before it."""
    leaner = lean(create)

    @functools.wraps(create)
    def recalling(**arguments: Any) -> Any:
        text = plain(arguments)
        if text is None:
            return create(**arguments)
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


def arecalled(create: Callable[..., Any], operation: str, recall: Recall | None) -> Callable[..., Any]:
    """Return `create` (a bound method of an asynchronous resource) with the short way before it."""
    leaner = lean(create)

    @functools.wraps(create)
    async def recalling(**arguments: Any) -> Any:
        text = plain(arguments)
        if text is None:
            return await create(**arguments)
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
    """Return `resource` with the short way on its `create`; the instance has it, the SDK's class is untouched."""
    resource.create = wrap(resource.create, operation, recall)
    return resource
