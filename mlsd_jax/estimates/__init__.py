"""Back-of-envelope figures of every system: pure functions from shapes, hardware and load to numbers with units.

Each function states its formula, its units and where the formula comes from. Nothing here touches a device, but for
`calibration`, which times this machine.
"""
