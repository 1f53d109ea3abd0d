"""The way of a prediction through a gateway: submission, cancellation, reconciliation."""
