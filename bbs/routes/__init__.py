"""The RPCs: one table of routes, the handlers behind it, and the two HTTP lanes that serve it.

Others use `bbs.routes.table.route_table` and what `bbs.http` exports.
"""
