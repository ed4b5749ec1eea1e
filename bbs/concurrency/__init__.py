"""What several rooms need of structured concurrency, and Trio leaves to its users.

Others use `members`, which starts the parts of a process in order and stops them backwards; `turns`, for long work that lets
others run in between; `clearable_event.ClearableEvent`, an event for loops; and `causes`, which finds what a group of
exceptions is about.
"""
