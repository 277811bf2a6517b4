"""Limits that all calls of a policy share: circuit breaker, retry budget, concurrency, rate and spend."""
