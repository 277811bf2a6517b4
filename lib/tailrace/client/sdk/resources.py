"""The `create` of the SDK's resources, with the fast path to a hit and a lean path for everything else."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

import orjson

from tailrace.client.sdk.arguments import from_sdk, lean, plain
from tailrace.client.sdk.fast_path import ANSWER_KEYS, FastPath


def with_fast_path(resource: Any, operation: str, fast_path: FastPath | None) -> Callable[..., Any]:
    """Return the `create` of a synchronous resource, with the fast path in front."""
    bare, create, original = copy.copy(resource), resource.create, _class_create(resource)
    leaner = lean(create)

    @functools.wraps(create)
    def fast_create(*unnamed: Any, **arguments: Any) -> Any:
        text = plain(arguments) if not unnamed and _class_create(resource) is original else None
        if text is None:
            return bare.create(*unnamed, **arguments)  # looked up in the class, which may have been patched
        mark = fast_path.mark(operation, arguments, text) if fast_path is not None else None
        if fast_path is None or mark is None:
            return leaner(**orjson.loads(text))
        answer = fast_path.answer(mark)
        if answer is not None:
            return answer
        keys: list[str] = []
        token = ANSWER_KEYS.set(keys)
        try:
            answer = leaner(**orjson.loads(text))
        finally:
            ANSWER_KEYS.reset(token)
        if len(keys) == 1 and keys[0]:
            fast_path.remember(mark, keys[0], answer)
        return answer

    return fast_create


def awith_fast_path(resource: Any, operation: str, fast_path: FastPath | None) -> Callable[..., Any]:
    """Return the `create` of an asynchronous resource, with the fast path in front."""
    bare, create, original = copy.copy(resource), resource.create, _class_create(resource)
    leaner = lean(create)

    @functools.wraps(create)
    async def fast_create(*unnamed: Any, **arguments: Any) -> Any:
        text = plain(arguments) if not unnamed and _class_create(resource) is original else None
        if text is None:
            return await bare.create(*unnamed, **arguments)  # looked up in the class, which may have been patched
        mark = fast_path.mark(operation, arguments, text) if fast_path is not None else None
        if fast_path is None or mark is None:
            return await leaner(**orjson.loads(text))
        answer = fast_path.answer(mark)
        if answer is not None:
            return answer
        keys: list[str] = []
        token = ANSWER_KEYS.set(keys)
        try:
            answer = await leaner(**orjson.loads(text))
        finally:
            ANSWER_KEYS.reset(token)
        if len(keys) == 1 and keys[0]:
            fast_path.remember(mark, keys[0], answer)
        return answer

    return fast_create


def put_fast_path(resource: Any, operation: str, fast_path: FastPath | None, wrap: Callable[..., Any]) -> Any:
    """Return `resource` with the fast path on its `create`; only the instance is changed, never the SDK's class.

    When somebody has patched the SDK's `create`, to watch calls or to change them, it is left alone.
    """
    if from_sdk(_class_create(resource)):
        # a copy.copy() of a client still has the fast path of the other one
        own = fast_path if fast_path is not None and fast_path.belongs_to(resource._client) else None
        resource.create = wrap(resource, operation, own)
    return resource


def _class_create(resource: Any) -> Any:
    """Return the `create` of the class of `resource`, unbound."""
    return vars(type(resource)).get("create")
