"""The messages between gateways and runners, and the states of a prediction."""
