"""A server of ours under a mixed load for a long time: does it keep anything that it should have let go?

`perf.soak.run` has the order of things: a short load, rest, readings; the long load, with readings all the time; rest,
readings. `perf.soak.load` is the load, `perf.soak.vitals` what is read of the server from outside, `perf.soak.verdict` what
has to be equal before and after, and how much memory may grow, `perf.soak.plots` the page.
"""
