"""A model's folder on this machine: checking it, watching it, and running it without a gateway."""
