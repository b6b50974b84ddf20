"""Neural networks (torch): layers, encoders under one contract, and the heads that read them.

Axes: B batch, T time, F features, D model dimension, V vocabulary. `lengths` are absolute integers.
"""
