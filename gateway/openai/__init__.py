"""OpenAI's API on top of predictions."""
