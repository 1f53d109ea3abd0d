"""The OpenAPI document of the gateway's HTTP API."""
