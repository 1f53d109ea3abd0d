"""What the agent tells the gateways about its host."""
