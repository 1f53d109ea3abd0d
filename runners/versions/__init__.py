"""Versions on disk: archives, environments, introspection."""
