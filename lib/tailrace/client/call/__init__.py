"""One call under a policy: from the request to the answer, the row in the accounts, and what others share of it."""
