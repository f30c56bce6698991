"""Backends: each turns a lowered module into bytes for some runtime. They do not know each other."""
