"""Statistics over seeds, metrics of a lifetime, schedules side by side."""
