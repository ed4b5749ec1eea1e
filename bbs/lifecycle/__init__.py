"""What may happen to an LRP, and what follows from it: pure decisions, without I/O and without a clock.

A decision takes records and a request, and returns an `Outcome`, or raises the refusal that the caller gets instead.
Time (``now_ns``) and fresh epochs are arguments. For others to use: `actual_lrps`, `desired_lrps` and `domains`, one
function per request; `retirement`, which takes several steps; `changes`, what the event streams tell of a change;
`groups`, the deprecated view; `lrp_convergence` and `suspects`, what convergence does to single instances; `rows` and
`restart`, for those who decide about rows elsewhere.
"""
