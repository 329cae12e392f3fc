"""What is measured of a lifetime, and when."""
