"""Batches: calls to a model collected into one forward pass."""
