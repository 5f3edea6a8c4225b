"""The shells of a server: sockets, files, threads, configuration and administration."""
