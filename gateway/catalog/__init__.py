"""Models and versions as the gateway knows them: lookups, input schemas, descriptions."""
