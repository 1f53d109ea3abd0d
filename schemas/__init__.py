"""What gateways and runners say to each other, and the states of a prediction."""
