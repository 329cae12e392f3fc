"""Strategies of Avalanche as methods: they live the same lifetimes, on the same streams, in the same ledger."""
