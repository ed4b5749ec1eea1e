"""The RPCs: the table of routes, the handlers behind it, and what the log says of requests (`stories`).

Others use `table.route_table`, which makes a `bbs.http.endpoints.RouteTable`, with a `context.Context` for its handlers;
and the parts that log and count requests. The HTTP server is `bbs.http`, and knows nothing of these.
"""
