"""A server for HTTP: knows requests, answers and streams, and nothing of the BBS.

Handlers take an `endpoints.Call`. A `RouteTable` of `Route`s is served by a `listener.HTTPServer` through both of its
lanes alike, within the bounds of `limits.Limits`.

This file imports nothing, on purpose: the health port uses `sockets` and `limits`, and must not depend on Quart and
Hypercorn, which the slow lane brings along.
"""
