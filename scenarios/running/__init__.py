"""From settings to lifetimes, which are recorded, resumed and distributed over processes."""
