"""The link: how this computer talks to a board. See docs/link.md."""
