"""Outgoing HTTP connections, and where they may lead."""
