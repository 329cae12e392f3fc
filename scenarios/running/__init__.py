"""From settings to lifetimes that are recorded, resumed, and spread over processes."""
