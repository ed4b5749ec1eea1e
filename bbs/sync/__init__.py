"""What keeps this server and others in step: event streams to its clients, and Locket, by which servers and cells are found.

Others use, of `hubs`, `hub.EventHubs` and what its subscriptions deliver and raise (`hubs.sse`); of `locket`,
`client.open_locket`, `lock.Lock`, `presences.Presences`, `watch.PresenceWatch`, and for a Locket of our own
`server.embedded_locket` with `table.LocketTable`.
"""
