"""Whether a follower tells the same as the master beside it: lists and event streams are compared, and nothing is changed.

`bbs.shadow.shadow.Shadow` is what runs. What it compares, and how, is pure: `kinds`, `comparing`, `events`, `fields`, `findings`,
`report`.
"""
