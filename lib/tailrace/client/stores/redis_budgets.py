"""Budgets in Redis, shared by machines. Amounts are whole nano-dollars; reservations expire on the clock of Redis.

With `maxmemory-policy allkeys-lru` Redis may drop any key, and a budget that is dropped begins anew. Each call touches
its budget, which is then the last to go; where that is not enough, give budgets a Redis of their own.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Any, Final

from tailrace.client.stores.budgets import MOST_OWNERS, OTHERS, Account, Balance, Reservation

log = logging.getLogger(__name__)

_NANO: Final = 1_000_000_000
_LATE_S: Final = 86_400
_FREE_EXPIRED: Final = """
local at = redis.call('TIME')
local now = tonumber(at[1]) + tonumber(at[2]) / 1000000
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 1000)) do
  local owner, nano = string.match(member, '^[^|]*|([^|]*)|(%d+)$')
  redis.call('HINCRBY', KEYS[2], owner, '-' .. nano)
  redis.call('ZREM', KEYS[3], member)
end
"""
_RESERVE: Final = (
    _FREE_EXPIRED
    + """
local owner, others, ticket, nano, limit, kept_s, most, ends_at = unpack(ARGV)
if redis.call('HEXISTS', KEYS[1], owner) == 0 then
  if redis.call('HLEN', KEYS[1]) >= tonumber(most) then owner = others end
  redis.call('HSETNX', KEYS[1], owner, '0')
end
local taken = tonumber(redis.call('HGET', KEYS[1], owner)) + tonumber(redis.call('HGET', KEYS[2], owner) or '0')
local left = tonumber(limit) - taken
local granted = tonumber(nano) <= left
if granted then
  redis.call('HINCRBY', KEYS[2], owner, nano)
  redis.call('ZADD', KEYS[3], now + tonumber(kept_s), ticket .. '|' .. owner .. '|' .. nano)
  left = left - tonumber(nano)
end
if ends_at ~= '' then
  for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, ends_at) end
end
return {granted and 1 or 0, string.format('%.0f', left)}
"""
)
_RENEW: Final = (
    _FREE_EXPIRED
    + """
local owner, others, ticket, nano, kept_s, ends_at = unpack(ARGV)
local expires = now + tonumber(kept_s)
for _, held in ipairs({owner, others}) do
  local member = ticket .. '|' .. held .. '|' .. nano
  if redis.call('ZSCORE', KEYS[3], member) then return redis.call('ZADD', KEYS[3], expires, member) end
end
if redis.call('HEXISTS', KEYS[1], owner) == 0 then owner = others end
redis.call('HINCRBY', KEYS[2], owner, nano)
redis.call('ZADD', KEYS[3], expires, ticket .. '|' .. owner .. '|' .. nano)
if ends_at ~= '' then
  for _, key in ipairs(KEYS) do redis.call('EXPIREAT', key, ends_at) end
end
return 1
"""
)
_SETTLE: Final = """
local owner, others, ticket, nano, cost, ends_at = unpack(ARGV)
for _, held in ipairs({owner, others}) do
  if redis.call('ZREM', KEYS[3], ticket .. '|' .. held .. '|' .. nano) == 1 then
    redis.call('HINCRBY', KEYS[2], held, '-' .. nano)
    owner = held
    break
  end
end
redis.call('HINCRBY', KEYS[1], owner, cost)
if ends_at ~= '' then redis.call('EXPIREAT', KEYS[1], ends_at) end
return 1
"""
_TAKEN: Final = (
    _FREE_EXPIRED
    + """
return {redis.call('HGET', KEYS[1], ARGV[1]) or '0', redis.call('HGET', KEYS[2], ARGV[1]) or '0'}
"""
)


class RedisBudgets:
    """Budgets under `prefix`; each operation is one script, which Redis carries out whole or not at all.

    The first one warns when this Redis, which `place` names, may evict a budget.
    """

    slow = True

    def __init__(self, client: Any, prefix: str, place: str = "Redis") -> None:
        self._client = client
        self._prefix = prefix
        self._place = place
        self._checked = False
        self._reserve, self._renew, self._settle, self._taken = (
            client.register_script(script) for script in (_RESERVE, _RENEW, _SETTLE, _TAKEN)
        )

    def reserve(self, reservation: Reservation, limit_usd: float, now: float, kept_s: float) -> Balance:
        account, nano = reservation.account, round(reservation.usd * _NANO)
        arguments = (account.owner, OTHERS, reservation.ticket, nano, round(limit_usd * _NANO), kept_s, MOST_OWNERS)
        if not self._checked:
            self._checked = True
            self._warn_of_eviction(account)
        granted, left = self._reserve(keys=self._keys(account), args=[*arguments, _expires_at(account)])
        return Balance(bool(granted), int(left) / _NANO)

    def renew(self, reservation: Reservation, now: float, kept_s: float) -> None:
        account, nano = reservation.account, round(reservation.usd * _NANO)
        arguments = (account.owner, OTHERS, reservation.ticket, nano, kept_s, _expires_at(account))
        self._renew(keys=self._keys(account), args=list(arguments))

    def settle(self, reservation: Reservation, cost_usd: float) -> None:
        account, nano = reservation.account, round(reservation.usd * _NANO)
        arguments = (account.owner, OTHERS, reservation.ticket, nano, round(cost_usd * _NANO), _expires_at(account))
        self._settle(keys=self._keys(account), args=list(arguments))

    def taken_usd(self, account: Account, now: float) -> tuple[float, float]:
        spent, reserved = self._taken(keys=self._keys(account), args=[account.owner])
        return int(spent) / _NANO, int(reserved) / _NANO

    def _warn_of_eviction(self, account: Account) -> None:
        """Warn when this Redis may evict a budget; say nothing when it does not tell (`CONFIG` may be forbidden)."""
        found: dict[Any, Any] = {}
        with suppress(Exception):  # a Redis that cannot be asked fails the operation that follows
            found = self._client.config_get("maxmemory*")
        told = {_text(name): _text(value) for name, value in found.items()}
        evicts = told.get("maxmemory-policy", "")
        of_all = evicts.startswith("allkeys") or (evicts.startswith("volatile") and _expires_at(account) != "")
        if of_all and told.get("maxmemory", "0") != "0":
            log.warning(
                "%s has maxmemory-policy %s and may evict a budget, which then begins anew; give budgets a Redis of "
                "their own with maxmemory-policy noeviction: Spend(store=Redis(…))", self._place, evicts,
            )  # fmt: skip

    def _keys(self, account: Account) -> list[str]:
        """Return the keys of what was spent, what is reserved, and when reservations expire; all in one slot."""
        period = f"{self._prefix}{{budget:{account.name}:{account.period}}}"
        return [f"{period}:{part}" for part in ("spent", "reserved", "expires")]


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def _expires_at(account: Account) -> int | str:
    """Return when Redis may delete the period, in seconds since 1970; "" for never."""
    return "" if account.ends_at == float("inf") else int(account.ends_at) + _LATE_S
