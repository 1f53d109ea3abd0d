"""PostgreSQL, the record of everything: one module per kind of row."""
