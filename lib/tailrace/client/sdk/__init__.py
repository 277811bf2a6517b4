"""How the policy reaches into the official SDK without changing what it sends."""
