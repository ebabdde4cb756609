"""The structs that go over the wire, one file for each part of the API: forms only, no rule."""
