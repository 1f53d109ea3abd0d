"""Devices and memory of a worker's model."""
