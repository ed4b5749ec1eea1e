"""What may happen to an LRP or a task, and what follows from it: pure decisions, without I/O and without a clock.

A decision takes records and a request, and returns an `Outcome`, or raises the refusal (`BBSError`) that the caller gets
instead. Time (``now_ns``, Unix nanoseconds) and fresh epochs (uuid texts for new modification tags) are arguments.

For others to use: `actual_lrps`, `desired_lrps`, `evacuation`, `tasks` and `domains`, one function per request;
`retirement`, which takes several steps; `announcements`, what the event streams tell of a change; `groups`, the deprecated
view; `lrp_convergence`, `suspects` and `task_convergence`, what convergence does to single instances and tasks; `rows` and
`restart`, for those who decide about rows elsewhere.
"""
