"""Followers beside their master: how late they are, what they cost it, and how many subscribers they carry for it.

`measured` is the command. `processes` starts ``bbs follow``, `writer` commits rows in a process of its own, `asker` asks a
follower how late it is, `fan_out` has thousands of streams; `lateness` and `cost` are the other two measurements.
"""
