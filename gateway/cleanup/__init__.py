"""Periodic deletion of what has expired or is not referenced."""
