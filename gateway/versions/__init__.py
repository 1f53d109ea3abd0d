"""The life cycle of versions: pushes, trainings and deletions."""
