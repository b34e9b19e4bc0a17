"""Sessions of servers: opening them, asking them, what can happen to them, and all of them together.

Contract: all of it runs on the loader's portal, in its loop's thread; plain attributes may be read from anywhere.
"""
