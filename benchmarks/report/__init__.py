"""Reports, tables and plots of measurements."""
