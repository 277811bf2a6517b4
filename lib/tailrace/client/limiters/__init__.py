"""What may hold a call back: breaker, retry budget, concurrency, rate and spend."""
