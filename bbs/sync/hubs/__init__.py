"""The event hubs, and how an event is written to a stream."""
