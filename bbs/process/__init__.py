"""One BBS process: its members, and what they do besides being a BBS.

Others use `process.Process`, whose `members` are for `bbs.concurrency.members.run_members`; `settings`, which both commands
fill; and `key_rotation.KeyLabelUnknown`, which ends a process. What a process does on its way to being master is in `mastership`
(how the others are kept out), `standby` (what it reads meanwhile), `takeover` (how it loads) and `key_rotation`.
"""
