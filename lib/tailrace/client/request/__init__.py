"""How a request is read: its envelope, its JSON body, its cache key, and whether it is allowed at all."""
