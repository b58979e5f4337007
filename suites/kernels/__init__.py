"""Suite `kernels`: every implementation of every operator, checked first, then timed beside its peers."""
