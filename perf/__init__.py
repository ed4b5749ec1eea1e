"""Load harness: drives any BBS by URL, ours or another, and measures our own in several configurations.

``compare`` is the harness proper. `perf.runner` runs the `perf.scenarios` on several servers, round by round, each on a
`perf.beds` with cells (`perf.cells`) and an auctioneer (`perf.peers`); `perf.readings` are figures as data, with what
`perf.probe` reads of the server beside them; `perf.report` and `perf.page` tell them. The other commands answer one
question each.

``python -m perf --help`` lists the commands. Each has a module: ``lanes``, ``operations`` (the command ``workload``),
``tasks``, ``hold``, ``convergence``, ``audit``, ``takeover``. They share ``load`` (the load generator), ``figures``
(statistics and tables), ``server`` (a BBS of our own as a subprocess), ``stalls`` (how long others wait for a turn) and
``workloads`` (which requests).
"""
