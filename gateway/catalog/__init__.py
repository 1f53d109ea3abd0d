"""Models and versions as the gateway uses them: lookups, input schemas, descriptions."""
