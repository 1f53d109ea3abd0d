"""Benchmarks of Samovar and of other inference servers, and their results."""
