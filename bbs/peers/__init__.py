"""The other programs this server calls: the auctioneer, the reps on the cells, and who wants to hear of tasks.

Others use the protocols of `bbs.peers.interfaces`, and `Effects` and `TaskEffects`, which perform what decisions asked
for. Behind the protocols are `HTTPAuctioneer`, `HTTPReps` and `HTTPTaskCallbacks`, each with an `HTTPClient` of its own;
`StubPeers` stands in for all of them.
"""
