"""``aionest.portal``: a loop in a thread of its own, callable from everywhere."""
