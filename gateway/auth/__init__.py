"""Authentication of requests, rate limits, and sessions of the website."""
