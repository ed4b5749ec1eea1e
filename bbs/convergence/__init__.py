"""What moves actual towards desired, pass after pass.

Others use `loop.ConvergenceLoop`, `lrps.LRPConvergence` and `tasks.TaskConvergence`, and, for the request to retire one
instance, `retirement.Retirement`.
"""
