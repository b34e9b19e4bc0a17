"""``aionest.hosted``: a resource that lives in a task of its own."""
