"""Every schedule of a short stream: grown, searched, priced, and what policies fall short of the best."""
