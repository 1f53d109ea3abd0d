"""The commands of `samovar`, one module per group."""
