"""The official conformance suite of the protocol, with aionest as the client."""
