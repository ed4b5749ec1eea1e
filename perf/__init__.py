"""Load harness: drives any BBS by URL, ours or another, and measures our own in several configurations.

``compare`` is the harness proper. `perf.runner` runs the `perf.scenarios` on several servers, round by round, each on a
`perf.beds` with cells (`perf.cells`) and an auctioneer (`perf.peers`). `perf.load` sends what `perf.workloads` and
`perf.tasks` make, `perf.beside` sends from another process, `perf.streams` reads events, `perf.seeding` writes large
fleets straight into the database. `perf.readings` are figures as data, with what `perf.probe` reads of the server
beside them and `perf.machine` of the machine; `perf.report` and `perf.page` tell them.

``convergence``, ``lists``, ``audit``, ``takeover`` and ``followers`` look inside, where no request can: each is a module, or
a package. They share `perf.figures` (statistics and tables), `perf.server` (a BBS of our own as a subprocess) and
`perf.stalls` (how long others wait for a turn).

``soak`` (`perf.soak`) loads a server of ours for an hour and finds what it has not let go.

``python -m perf --help`` lists all of these.
"""
