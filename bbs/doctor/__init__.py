"""``bbs doctor``: what an operator should know of a deployment now, and what to do about it.

`asking` finds the facts out, beside a server and without changing anything; `checks` judges them, purely, and `report` says it.
"""
