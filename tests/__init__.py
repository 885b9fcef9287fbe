"""The tests. A package, because a library in the environment also installs one of this name."""
