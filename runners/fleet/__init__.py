"""Registration, heartbeat and status of the agent, for the gateways."""
