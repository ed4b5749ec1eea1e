"""What the server tells of itself, to Loggregator and to Prometheus, under upstream's names (metrics-and-logs.md §1, §2).

Nothing here holds what others count: values are asked for when they are sent. Only what has no other home is counted
here: requests, batches, the event loop's lateness. `Metrics` is what the server holds on to.
"""
