"""The gateway: HTTP requests in and jobs out; events in and answers out."""
