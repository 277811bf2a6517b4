"""Faster ways through the official SDK, which change nothing of what it sends."""
