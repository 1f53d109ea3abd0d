"""Inputs, outputs, logs and the socket to the agent."""
