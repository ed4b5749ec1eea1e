"""What the server tells of itself, to Loggregator and to Prometheus, under upstream's names (metrics-and-logs.md §1, §2).

Nothing here copies what others count: they are asked when a value is sent. Only what nobody else counts is counted here:
requests, batches, the event loop's lateness. Others use `Metrics`, of which a process has one.
"""
