"""What several rooms need of structured concurrency, and Trio leaves to its users."""
