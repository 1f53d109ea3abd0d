"""The path of a job through the agent, from its delivery to its final event."""
