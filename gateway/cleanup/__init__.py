"""Periodic deletion of what has expired or that nothing refers to."""
