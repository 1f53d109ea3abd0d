"""How versions come and go: pushes, trainings and deletions."""
