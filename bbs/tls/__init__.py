"""TLS from certificate files: contexts for HTTP, credentials for gRPC, and certificates for development."""
