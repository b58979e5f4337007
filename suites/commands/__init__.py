"""The commands of `bench`, a file for each group: options in, a call of a suite, what it returns on the screen."""
