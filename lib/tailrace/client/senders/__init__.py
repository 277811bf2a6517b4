"""Senders make one attempt: a request goes in, one answer or `wire.Unanswered` comes out."""

__all__: list[str] = []
