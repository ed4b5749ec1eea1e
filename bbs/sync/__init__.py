"""What keeps others in step with us.

Others use `bbs.sync.event_hub.EventHubs`, the feeds that event streams are merged from, and what its subscriptions
deliver and raise (`bbs.sync.sse`).
"""
