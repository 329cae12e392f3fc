"""Schedule tables: grow them, search them, put prices on them, and measure the regret of policies on them."""
