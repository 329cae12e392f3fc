"""What an agent meets: chunks of labelled images, their augmentation, and the store they are drawn from."""
