"""What the server tells of itself, to Loggregator and to Prometheus, under upstream's names (metrics-and-logs.md §1, §2).

Nothing here copies what others count: they are asked when a value is sent. Only what nobody else counts is counted here:
requests, batches, the event loop's lateness. Others use `metrics.Metrics`, of which a process has one, with the
`emitter.Emitter` that it sends through and a `loggregator` behind that; `gauges.gauges` and `prometheus.page` for the page on
the debug port; and `requests.RequestCounts`, which the HTTP server's hooks fill.
"""
