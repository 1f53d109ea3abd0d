"""Processes that the agent starts, and the memory they use."""
