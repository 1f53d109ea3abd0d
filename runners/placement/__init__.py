"""Placement: which devices and how much memory a version gets."""
