"""The other programs that this server calls over HTTP: the auctioneer, the reps on the cells, and receivers of callbacks
about tasks.

Others use the protocols of `interfaces`, and `opened.open_peers`, which makes what is behind them: `HTTPAuctioneer`,
`HTTPReps` and `HTTPTaskCallbacks`, each with an `HTTPClient` of its own. `StubPeers` stands in for all of them. `cell_queue`
is the queue for calls that nobody waits for; what decides about calls and makes them is in `bbs.acts`.
"""
