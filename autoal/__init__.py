"""autoal: which samples to label next."""
