"""Who we are and whom we believe: TLS contexts from files, for HTTP and gRPC."""
