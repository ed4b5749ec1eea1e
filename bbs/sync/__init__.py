"""What keeps others in step with us.

Others use `bbs.sync.hubs.hub.EventHubs`, the feeds that event streams are merged from, and what its subscriptions
deliver and raise (`bbs.sync.hubs.sse`).
"""
