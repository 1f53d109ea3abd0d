"""The only package that knows the NATS client: connections and JetStream."""
