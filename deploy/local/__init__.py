"""`samovar up`: NATS, PostgreSQL, gateways and a runner on one machine."""
