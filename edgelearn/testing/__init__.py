"""The public testing kit: what a rule's, backend's or board's author needs to test it."""
