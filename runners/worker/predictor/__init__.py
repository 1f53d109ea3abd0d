"""The predictor: its loading, its signature, and its OpenAPI document."""
