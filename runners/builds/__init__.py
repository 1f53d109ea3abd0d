"""Builds of pushed versions, and trainings."""
