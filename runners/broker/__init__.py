"""The agent's side of NATS: job queues, events, leases."""
