"""Which option of finished curves or schedule tables is best as prices move."""
