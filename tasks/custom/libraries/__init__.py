"""Models of other libraries with the data sets of those libraries, as tasks."""
