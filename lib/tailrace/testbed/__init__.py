"""What a profile describes, running: the provider, the deployment, candidates to deploy, and faults to inject."""
