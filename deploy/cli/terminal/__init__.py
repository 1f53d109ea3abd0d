"""Output to a terminal or a pipe, and interrupts by Ctrl-C."""
