"""The loop, and lifetimes that share an agent for as long as their policies decide alike."""
