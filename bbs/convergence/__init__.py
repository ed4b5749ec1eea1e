"""The loops that move actual towards desired. Not built yet: LRPs converge only by what clients ask for."""
