"""The intermediate representation: types, the table of ops, modules, their text form, verifier and interpreter."""
