"""Meters of energy. Each says what it measured in a window of time, or why it did not; none of them guesses, and unknown is never 0."""
