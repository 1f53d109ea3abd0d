"""The commands of `samovar`, one module per command or group of commands."""
