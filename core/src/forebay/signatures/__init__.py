"""How webhooks are signed: one engine for every provider, pure on bytes. No I/O, no clock, no randomness.

`scheme` says a scheme as data, `presets` knows the providers' schemes, `verify` decides about a request,
`sign` makes a request that passes. `template` and `mac` are what the last two share.
"""
