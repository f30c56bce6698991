"""Who may write to a board: keys, signed plans and sessions whose frames carry a tag. docs/pairing.md says what is proved by what."""
