"""Work, what it costs, and the accounts that it is charged to."""
