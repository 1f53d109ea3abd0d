"""The `samovar` command line."""
