"""What the API shows of predictions, models, accounts and the fleet."""
