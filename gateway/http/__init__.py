"""HTTP below the routes: sockets, middleware, request bodies, event streams, files."""
