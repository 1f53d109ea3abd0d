"""Other inference servers, installed and started so that they can be measured beside Samovar."""
