"""The loops that move actual towards desired: tasks so far; LRPs converge only by what clients ask for."""
