"""Reading a request: its envelope, its JSON body, its cache key, and the guard that may refuse it."""
