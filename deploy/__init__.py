"""The command line, and everything that starts and supervises Samovar on one machine."""
