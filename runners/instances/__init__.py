"""Instances: loaded versions, which of them run on this host, and where."""
