"""The predictor: loading it, its signature, and the OpenAPI schema made from it."""
