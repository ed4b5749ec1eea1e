"""One BBS process: its members, and what they do besides being a BBS."""
