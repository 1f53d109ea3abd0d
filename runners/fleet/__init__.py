"""Reports of the agent to the gateways: the status of its host, as a heartbeat."""
