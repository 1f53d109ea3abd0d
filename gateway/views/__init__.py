"""The resources that the API shows: predictions, models, accounts and the fleet."""
