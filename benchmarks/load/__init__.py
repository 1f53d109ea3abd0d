"""The load generator: a process that sends requests and times the answers."""
