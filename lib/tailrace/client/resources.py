"""The short way to a hit, put before the `create` of the SDK's resources."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from tailrace.client.recall import ANSWERED, Recall


def recalled(create: Callable[..., Any], operation: str, recall: Recall) -> Callable[..., Any]:
    """Return `create` (a bound method of a synchronous resource) with the short way before it."""

    @functools.wraps(create)
    def recalling(**arguments: Any) -> Any:
        mark = recall.mark(operation, arguments)
        if mark is None:
            return create(**arguments)
        known = recall.answer(mark)
        if known is not None:
            return known
        keys: list[str] = []
        token = ANSWERED.set(keys)
        try:
            parsed = create(**arguments)
        finally:
            ANSWERED.reset(token)
        if len(keys) == 1 and keys[0]:
            recall.learn(mark, operation, arguments, keys[0], parsed)
        return parsed

    return recalling


def arecalled(create: Callable[..., Any], operation: str, recall: Recall) -> Callable[..., Any]:
    """Return `create` (a bound method of an asynchronous resource) with the short way before it."""

    @functools.wraps(create)
    async def recalling(**arguments: Any) -> Any:
        mark = recall.mark(operation, arguments)
        if mark is None:
            return await create(**arguments)
        known = recall.answer(mark)
        if known is not None:
            return known
        keys: list[str] = []
        token = ANSWERED.set(keys)
        try:
            parsed = await create(**arguments)
        finally:
            ANSWERED.reset(token)
        if len(keys) == 1 and keys[0]:
            recall.learn(mark, operation, arguments, keys[0], parsed)
        return parsed

    return recalling


def shortened(resource: Any, operation: str, recall: Recall, wrap: Callable[..., Any]) -> Any:
    """Return `resource` with the short way on its `create`; the instance has it, the SDK's class is untouched."""
    resource.create = wrap(resource.create, operation, recall)
    return resource
