"""What people are told of rows, events and figures, at a terminal and on the dashboard alike. Pure.

Others use `events`, `reasons` of an `app`, `latencies` and `times`.
"""
