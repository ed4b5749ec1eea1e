"""What tests of several servers over one database and one Locket are made of: the Locket, the servers, their clients, what
was committed, and the rules that one writer has to keep.
"""
