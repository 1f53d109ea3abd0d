"""The command line's client of the gateway's HTTP API."""
