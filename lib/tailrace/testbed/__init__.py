"""What a profile describes, brought up: the provider, the deployment, and releases to offer to it."""
