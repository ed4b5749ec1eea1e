"""Load harness: drives any BBS by URL, ours or another, and measures our own in several configurations.

``python -m perf --help`` lists the commands. Each has a module: ``lanes``, ``operations`` (the command ``workload``),
``tasks``, ``hold``, ``convergence``, ``audit``, ``takeover``. They share ``load`` (the load generator), ``figures``
(statistics and tables), ``server`` (a BBS of our own as a subprocess), ``stalls`` (how long others wait for a turn) and
``workloads`` (which requests).
"""
