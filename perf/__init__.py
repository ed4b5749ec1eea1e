"""Load harness: drives any BBS by URL, ours or another, and measures our own in several configurations.

``python -m perf lanes | workload | hold``; the spec page is benchmarks.md. Modules: ``load`` (the generator),
``figures`` (statistics and tables), ``server`` (a BBS of our own as a subprocess), ``workloads`` (which requests),
``lanes``, ``operations`` and ``hold`` (the three commands).
"""
