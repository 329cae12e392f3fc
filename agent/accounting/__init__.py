"""Work, its cost, and the accounts that it is charged to."""
