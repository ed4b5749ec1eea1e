"""The RPCs: the table of routes, the handlers behind it, and what the log says of requests (`stories`).

Others use `table.route_table`, which makes a `bbs.http.endpoints.RouteTable`, with a `context.Context` for its handlers;
`request_log`, whose `RequestLog` and `AccessLog` tell of every request's begin and end; and `task_counts`, which the
metrics read. The HTTP server is `bbs.http`, and knows nothing of these.

A request's way: `answers.RPC` reads and validates its message; the handler decides within a scope of `bbs.store.scopes`
and has this carried out by `Context.change`, which waits until the rows are durable and performs the effects; refusals
and trouble come back to `RPC` as exceptions and become the answer's error there, in one place.
"""
