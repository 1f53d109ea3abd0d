"""Calls of the predictor: one at a time, concurrent, or in batches."""
