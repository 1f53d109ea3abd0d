"""The events of predictions: subscriptions, streams and the recorder."""
