"""The runner agent: one process per host that pulls jobs and runs them in worker processes."""
