"""Reading an answer: its tokens, whether it is complete, and streams while they pass."""
